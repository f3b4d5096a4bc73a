/** What a model is (config) and what it was made from (card): `model.json` beside the weights. */
import type { RowOrder } from '../features/bag.ts';
import type { Activation } from '../kernels/kernels.ts';
import type { SegmentLength } from '../kernels/sequence.ts';
import type { ScanOrder } from '../row-order.ts';
import type { Mpp } from '../units.ts';
import type { BranchMerge } from './local-mamba-block.ts';
import type { BlockType } from './mamba-block.ts';

export const poolingTypes = ['mean', 'max', 'abmil', 'gated-abmil', 'clam-sb', 'dsmil', 'transmil'] as const;
export type PoolingType = (typeof poolingTypes)[number];
export type ModelType = BlockType | PoolingType;

interface CommonConfig {
  /** Feature width of the instances. */
  readonly input: number;
  /** Width of an instance inside the model. */
  readonly width: number;
  /** Width of the attention's hidden layer. */
  readonly attention: number;
  /** Class names, or the names of the time bins of a survival model, in the order of the logits. */
  readonly classes: readonly string[];
  /** Probability with which dropout clears an element, in training only. */
  readonly dropout: number;
}

export interface PoolingConfig extends CommonConfig {
  readonly type: PoolingType;
}

/** mambamil.md */
export interface MambaMilConfig extends CommonConfig {
  readonly type: BlockType;
  readonly layers: number;
  /** States per channel. */
  readonly state: number;
  /** Length of the causal convolution. */
  readonly conv: number;
  readonly expand: number;
  /** Segment length of `lbmamba`; no weight depends on it, but the result does. */
  readonly K: SegmentLength;
  /** `alternate`: layers with odd index read the bag from its end (`mamba` and `lbmamba`). */
  readonly flip: 'none' | 'alternate';
  /** Stride of `srmamba`. */
  readonly rate: number;
  readonly activation: Extract<Activation, 'gelu' | 'relu'>;
  /**
   * For each layer the orders in which it scans the patches on the slide's grid (`mamba` and `lbmamba`); several are several
   * branches. Missing or null: all layers read the rows as the bag has them.
   */
  readonly orders?: readonly (readonly ScanOrder[])[] | null;
  /** How several branches of a layer are joined; `scattn` unless said otherwise. */
  readonly merge?: BranchMerge;
}

export type ModelConfig = MambaMilConfig | PoolingConfig;

export interface ModelOrigin {
  readonly name: string;
  /** Whether the logits are those of classes or the hazards of time bins. */
  readonly task: 'classification' | 'survival';
  /** The encoder whose features the model reads, `name@hash`; null when not known. */
  readonly encoder: string | null;
  /** Micrometres per pixel of the patches, and their side as the encoder saw them; null when not known. */
  readonly patchMpp: Mpp | null;
  readonly patchPx: number | null;
  /** Row order of the bags that it was trained on. */
  readonly order: RowOrder;
  /** False for random weights. */
  readonly trained: boolean;
  readonly trainingDataHash: string | null;
  /** Cross-validated figures by name. */
  readonly metrics: Readonly<Record<string, number | null>> | null;
  /** Version of the program that wrote the card; null for weights from elsewhere. */
  readonly version: string | null;
  /** Of an ensemble: folders within this one whose models' predictions are averaged. */
  readonly members?: readonly string[];
}

export type ModelCard = ModelConfig & ModelOrigin;
