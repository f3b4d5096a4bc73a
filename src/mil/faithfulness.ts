/** Whether a score of patches says what the model looks at: deletion and insertion curves (Petsiuk et al. 2018; for bags, Javed et al. 2022). */

/** Mean over slides of one score column. */
export interface ColumnFaithfulness {
  readonly name: string;
  /** Areas under the mean curves, 0 to 1: deletion low and insertion high is good. */
  readonly deletion: number;
  readonly insertion: number;
  /** Insertion minus deletion. */
  readonly score: number;
  /** Probability of the full bag's prediction at evenly spaced shares of patches taken away, or put in. */
  readonly deletionCurve: readonly number[];
  readonly insertionCurve: readonly number[];
}

/** `faithfulness.json` of a run. */
export interface Faithfulness {
  readonly slides: number;
  /** Points of a curve. */
  readonly steps: number;
  readonly columns: readonly ColumnFaithfulness[];
  /** Of patches in random order: what a score that knows nothing has. */
  readonly baseline: { readonly deletion: number; readonly insertion: number };
}
