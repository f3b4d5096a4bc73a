/** A plain PNG or JPEG picture: one level, cut from a picture that is decoded whole, so only small ones are taken. */
import sharp from 'sharp';
import { messageOf, UserError } from '../errors.ts';
import { isWebAddress } from './byte-source.ts';
import { scaleOf } from './physical-scale.ts';
import type { SlideFormat } from './slide-format.ts';
import { createTiledSlide } from './tiled-slide.ts';

/** 300 MB decoded. */
const maxPixels = 100_000_000;
const bandRows = 256;

export const picture: SlideFormat = {
  name: 'picture',

  async recognises({ head }) {
    const isPng = head[0] === 0x89 && head[1] === 0x50 && head[2] === 0x4e && head[3] === 0x47;
    const isJpeg = head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff;
    return isPng || isJpeg;
  },

  async open({ source }, given) {
    const input = isWebAddress(source.name) ? await source.read(0, source.length) : source.name;
    const image = sharp(input, { limitInputPixels: maxPixels });
    const { width, height } = await image.metadata().catch((error) => {
      throw unreadable(source.name, error);
    });
    if (width * height > maxPixels) {
      throw new UserError(
        'picture-too-large',
        `${source.name} is a plain picture of ${width} x ${height} pixels, too large to read without tiles.`,
        'Convert it: vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg --bigtiff.',
      );
    }
    const pixels = await image
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .removeAlpha()
      .raw()
      .toBuffer()
      .catch((error) => {
        throw unreadable(source.name, error);
      });
    const rowBytes = width * 3;
    return createTiledSlide(source, {
      format: 'picture',
      vendor: null,
      scale: scaleOf(source.name, given, null, null),
      objectivePower: null,
      properties: {},
      levels: [
        {
          width,
          height,
          tileWidth: width,
          tileHeight: bandRows,
          encoding: { codec: 'none', width, height: bandRows, colour: 'rgb', samples: 3, differenced: false },
          read: async (_column, row) =>
            new Uint8Array(pixels.subarray(row * bandRows * rowBytes, (row + 1) * bandRows * rowBytes)),
        },
      ],
      associated: new Map(),
    });
  },
};

function unreadable(name: string, error: unknown): UserError {
  return new UserError(
    'damaged-slide',
    `${name} is a damaged picture: ${messageOf(error)}.`,
    'Save it again from its source.',
    {
      cause: error,
    },
  );
}
