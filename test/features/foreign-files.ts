/** Small files of other writers, which h5wasm cannot make: packed, for most of them is zeros. */
import { gunzipSync } from 'node:zlib';

const unpacked = (base64: string) => gunzipSync(Buffer.from(base64, 'base64'));

/** h5py 3.7: `features`, 4 x 2 zeros with compression="lzf". */
export const lzfBag = unpacked(
  'H4sIAAAAAAACA+v0cHHj5ZLiYubgYICB/1DACRUygIrf73rj6e/hEsSkkNbPk42MK5iEkDXCABcTAyMDA5swA5DiSEtNLCktSi0+DLPGkYFy4MRi5Qx2EiMD' +
    'I6MKAwMTEyMjC1SOCUqj85lFGBgFFeSh4goM4hwM4vVAFivQtczM3FIMjEDTalmAbmZmyKlKA6tjZQSpZGDgkAWax8TEzMjCxMLIiewSWPCVMwwUuDUvRpth' +
    'FIyCUTAKRsEoIAYA67UHwiASAI4HBcAJCAAA',
);

/** h5py 3.7: `features` (>f4), 4 x 3, the eighths from 0 on; `coords` (>i4): (0, 256), (512, 70000), (-3, 1), (5, 6). */
export const bigEndianBag = unpacked(
  'H4sIAAAAAAACA+v0cHHj5ZLiYubgYICB/1AQABUygIoz56uz+Xu4BDEpLOvnyUbGFUxCyBphgIuJgZGBgU2YAUhxpKUmlpQWpRYfhprGJggSZkvOzy9KKT7P' +
    'CBXVYSAJ7M9arw12EiMDI6MKAwMTEyMjC8y5UBqdzyzCwCioKA8VV2AQ52AQrweyWIGuZebiAPqEBehcVK8zLGAY9CD3rvhHXGHBhBYWMD4zDwOjACcDPCyQ' +
    'w8AAGgYKMAtWMAwZ0HtkSRjDKBgFo2AUjAL8wA6EG4D4AAODPZBtDyzx7R2AOAGIgeL2E4AYWAHab4DpYIRUIYyCBcBa/i9UgBVUqQMA1ymA5lAIAAA=',
);

/** PyTorch 1.13: torch.save(torch.zeros(2, 3), file, _use_new_zipfile_serialization=False). */
export const legacyTorch = unpacked(
  'H4sIAAAAAAACA31PPUsDQRDd+8idWRFs7SxjE+REMb2kWfyKzTaynHtLsrLcZnbnAgqBVEH9Df4A/5o/QbBwYjoLpxiYN2/ee7NK37j7fh9/HT5+3BwMV+nl' +
    'Z0Z9CWwg9xlj8+DRa+/UwoRofQsJEeQebZxFdEaZtrF1C+mL5ATi09yoaJ9NhGwJ+UD2CIwzHxB6IpUZTbZFKEQu842Gb6dQirzryFOjD3o2VB1aF7kK5qGz' +
    'rlFo2uiDWlScMg1kuREkZj01kGxP+Nj5Gu+2IIdU9olzdl4dj05PRhVkv7Z63kEuiisKciuYSEW2phiZSNZQvmr60BmN9GDk16ExwTQXViOHnaMJ9BH4BHYp' +
    '4j2wP+JJPSzY//UDL0UFz2MBAAA=',
);
