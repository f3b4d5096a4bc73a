/**
 * Patch encoders of the field and what it takes to run each right. Weights are not included: export them to ONNX
 * (docs/encoders.md) and give them with --weights.
 *
 * Sources: sizes, crops, interpolation, mean and deviation, tokens and widths are those of TRIDENT's
 * `trident/patch_encoder_models/load.py` (with `utils/constants.py`), patch sizes, scales, widths and licences those of the
 * table in its README (github.com/mahmoodlab/TRIDENT, commit 0120b8b), unless the entry's `note` says otherwise. Where a note
 * says "not verified", no source could be read.
 */
import { defaultRecipe, IMAGENET, type Recipe } from './recipe.ts';

export interface Preset {
  readonly name: string;
  readonly title: string;
  /** Features a patch. */
  readonly dimension: number;
  readonly recipe: Recipe;
  readonly licence: string;
  /** Where the weights are, and where access is asked for if they are behind a licence. */
  readonly access: string;
  /** Whether access has to be asked for. */
  readonly gated: boolean;
  /** Repository on Hugging Face. */
  readonly repository: string | null;
  /** What else one should know, and where facts come from that the sources above do not have. */
  readonly note: string | null;
}

const CC_BY_NC_ND = 'CC-BY-NC-ND-4.0';
const OWKIN = 'Owkin non-commercial';
const KAIKO = 'Kaiko non-commercial';
const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;
/** OpenAI's CLIP. */
const CLIP = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const;
const HIBOU = { mean: [0.7068, 0.5755, 0.722], std: [0.195, 0.2316, 0.1816] } as const;
const H_OPTIMUS = { mean: [0.707223, 0.578729, 0.703617], std: [0.211883, 0.230117, 0.177517] } as const;

const cls = (skip: number) => ({ pool: 'cls', skip }) as const;
const clsAndMean = (skip: number) => ({ pool: 'cls+mean', skip }) as const;
const hub = (repository: string, gated: boolean) =>
  ({ repository, gated, access: `https://huggingface.co/${repository}` }) as const;

function preset(entry: Omit<Preset, 'recipe' | 'note'> & { recipe?: Partial<Recipe>; note?: string }): Preset {
  return { note: null, ...entry, recipe: { ...defaultRecipe, ...IMAGENET, ...entry.recipe } };
}

const kaiko = (name: string, title: string, model: string, dimension: number, skip: number): Preset =>
  preset({
    name,
    title,
    dimension,
    recipe: { ...HALF, patchPx: 256, tokens: cls(skip) },
    licence: KAIKO,
    ...hub(`1aurent/${model}.kaiko_ai_towards_large_pathology_fms`, false),
  });

export const presets: readonly Preset[] = [
  preset({
    name: 'resnet50',
    title: 'ResNet-50, ImageNet, third block',
    dimension: 1024,
    recipe: { patchPx: 256 },
    licence: 'BSD-3-Clause',
    ...hub('timm/resnet50.tv_in1k', false),
    note: 'As CLAM and TRIDENT use it: the map of the third block, averaged over its places.',
  }),
  preset({
    name: 'ctranspath',
    title: 'CTransPath (the weights of CHIEF)',
    dimension: 768,
    recipe: { patchPx: 256, mpp: 1 },
    licence: 'GPL-3.0',
    access: 'https://huggingface.co/datasets/MahmoodLab/hest-bench/tree/main/fm_v1/ctranspath',
    gated: false,
    repository: null,
    note: '10x as for CHIEF; the scale of the first publication is not verified.',
  }),
  preset({
    name: 'phikon',
    title: 'Phikon',
    dimension: 768,
    licence: OWKIN,
    ...hub('owkin/phikon', false),
  }),
  preset({
    name: 'phikon-v2',
    title: 'Phikon-v2',
    dimension: 1024,
    licence: OWKIN,
    ...hub('owkin/phikon-v2', false),
  }),
  preset({
    name: 'uni',
    title: 'UNI',
    dimension: 1024,
    recipe: { patchPx: 256 },
    licence: CC_BY_NC_ND,
    ...hub('MahmoodLab/UNI', true),
  }),
  preset({
    name: 'uni2-h',
    title: 'UNI2-h',
    dimension: 1536,
    recipe: { patchPx: 256, tokens: cls(9) },
    licence: CC_BY_NC_ND,
    ...hub('MahmoodLab/UNI2-h', true),
  }),
  preset({
    name: 'conch',
    title: 'CONCH, image part',
    dimension: 512,
    recipe: { ...CLIP, size: 448, resize: 448, patchPx: 512, interpolation: 'bicubic' },
    licence: CC_BY_NC_ND,
    ...hub('MahmoodLab/CONCH', true),
    note:
      'Export encode_image(proj_contrast=False, normalize=False). Size from conch_ViT-B-16.json, interpolation from transform.py ' +
      "and constants, those of OpenAI's CLIP, from factory.py of github.com/mahmoodlab/CONCH.",
  }),
  preset({
    name: 'conch-v1.5',
    title: 'CONCH v1.5, image part',
    dimension: 768,
    recipe: { size: 448, resize: 448, patchPx: 512 },
    licence: CC_BY_NC_ND,
    ...hub('MahmoodLab/conchv1_5', true),
    note: "The transform is that of TRIDENT's conchv1_5.py.",
  }),
  preset({
    name: 'virchow',
    title: 'Virchow',
    dimension: 2560,
    recipe: { interpolation: 'bicubic', tokens: clsAndMean(1) },
    licence: 'Apache-2.0',
    ...hub('paige-ai/Virchow', true),
  }),
  preset({
    name: 'virchow2',
    title: 'Virchow2',
    dimension: 2560,
    recipe: { interpolation: 'bicubic', tokens: clsAndMean(5) },
    licence: CC_BY_NC_ND,
    ...hub('paige-ai/Virchow2', true),
    note: 'The class token and the mean of the patches, without the four registers between them.',
  }),
  preset({
    name: 'prov-gigapath',
    title: 'Prov-GigaPath, tile encoder',
    dimension: 1536,
    recipe: { resize: 256, patchPx: 256, interpolation: 'bicubic' },
    licence: 'Apache-2.0',
    ...hub('prov-gigapath/prov-gigapath', true),
    note: 'Of a patch of 256 px the middle 224 are used.',
  }),
  preset({
    name: 'h-optimus-0',
    title: 'H-optimus-0',
    dimension: 1536,
    recipe: { ...H_OPTIMUS, tokens: cls(5) },
    licence: 'Apache-2.0',
    ...hub('bioptimus/H-optimus-0', true),
  }),
  preset({
    name: 'h-optimus-1',
    title: 'H-optimus-1',
    dimension: 1536,
    recipe: { ...H_OPTIMUS, tokens: cls(5) },
    licence: CC_BY_NC_ND,
    ...hub('bioptimus/H-optimus-1', true),
  }),
  preset({
    name: 'hibou-b',
    title: 'Hibou-B',
    dimension: 768,
    recipe: { ...HIBOU, interpolation: 'bicubic', tokens: cls(5) },
    licence: 'Apache-2.0',
    ...hub('histai/hibou-b', true),
    note:
      'A ViT-B/14 with registers after arXiv:2406.05074, four of them in the code of github.com/kaiko-ai/eva; the constants and ' +
      'the access are those of Hibou-L, not verified for this one.',
  }),
  preset({
    name: 'hibou-l',
    title: 'Hibou-L',
    dimension: 1024,
    recipe: { ...HIBOU, interpolation: 'bicubic', tokens: cls(5) },
    licence: 'Apache-2.0',
    ...hub('histai/hibou-L', true),
    note:
      'The pooled output is the class token after the last norm. Four registers as in the code of github.com/kaiko-ai/eva; ' +
      'the class token does not depend on them.',
  }),
  kaiko('kaiko-vits8', 'Kaiko ViT-S/8', 'vit_small_patch8_224', 384, 1),
  kaiko('kaiko-vits16', 'Kaiko ViT-S/16', 'vit_small_patch16_224', 384, 1),
  kaiko('kaiko-vitb8', 'Kaiko ViT-B/8', 'vit_base_patch8_224', 768, 1),
  kaiko('kaiko-vitb16', 'Kaiko ViT-B/16', 'vit_base_patch16_224', 768, 1),
  kaiko('kaiko-vitl14', 'Kaiko ViT-L/14', 'vit_large_patch14_reg4_dinov2', 1024, 5),
  preset({
    name: 'midnight',
    title: 'Midnight-12k',
    dimension: 3072,
    recipe: { ...HALF, tokens: clsAndMean(1) },
    licence: 'MIT',
    ...hub('kaiko-ai/midnight', false),
    note: 'Licence from its model card. TRIDENT takes the class token alone (1536) unless told; its table gives 3072.',
  }),
];

export function findPreset(name: string): Preset | null {
  return presets.find((preset) => preset.name === name) ?? null;
}
