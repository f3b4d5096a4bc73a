/**
 * The loops over pixels of the features: colour, texture, and pictures to numbers; and one over features: cosines.
 * One instance a size of patch; its memory is laid out by the caller. Sums are of four lanes within a row and of f64 over the rows.
 */
export * from './colour';
export * from './cosine';
export * from './texture';
