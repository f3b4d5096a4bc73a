/** Everything that the wasm module exports, one file a family of kernels. */
export { activation, activationBackward } from './activation';
export { conv1d, conv1dBackward, conv1dScratch, convTail } from './conv1d';
export { conv2d, conv2dBackward } from './conv2d';
export { add, dropout, fill, multiply, transpose } from './elementwise';
export { argmaxRows, gatherColumns, gatherRows, scatterRows, topK } from './gather';
export { crossEntropy, survivalLoss } from './loss';
export { matmul, matmulScratch, matmulSmall, matmulSmallScratch } from './matmul';
export { layerNorm, layerNormBackward, rmsNorm, rmsNormBackward, sumRows } from './norm';
export { adam, sgd, squaredNorm } from './optimizer';
export {
  attentionPool, attentionPoolBackward, attentionPoolChunk, poolRows, poolRowsBackward, softmaxRows, softmaxRowsBackward,
} from './pool';
export { selectiveScan, selectiveScanScratch } from './selective-scan';
export { addParts, selectiveScanBackward, selectiveScanBackwardScratch } from './selective-scan-backward';
