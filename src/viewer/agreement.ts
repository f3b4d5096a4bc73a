/** How far readers agree beyond chance. */

/**
 * Cohen's kappa of two readers (Cohen, 1960): one pair of categories a slide. Null without slides, and where chance alone
 * explains everything (both always said the same one category).
 */
export function cohenKappa(pairs: readonly (readonly [string, string])[]): number | null {
  const n = pairs.length;
  if (n === 0) return null;
  const observed = pairs.filter(([a, b]) => a === b).length / n;
  let expected = 0;
  for (const category of new Set(pairs.flat())) {
    const share = (reader: 0 | 1) => pairs.filter((pair) => pair[reader] === category).length / n;
    expected += share(0) * share(1);
  }
  return expected === 1 ? null : (observed - expected) / (1 - expected);
}

/** Fleiss' kappa (Fleiss, 1971): the categories of the same number of readers for each slide. Null as for Cohen's. */
export function fleissKappa(slides: readonly (readonly string[])[]): number | null {
  const [n, readers] = [slides.length, slides[0]?.length ?? 0];
  if (n === 0 || readers < 2) return null;
  if (slides.some(({ length }) => length !== readers)) throw new RangeError('slides differ in their number of readers');
  const categories = [...new Set(slides.flat())];
  const counts = slides.map((given) => categories.map((category) => given.filter((one) => one === category).length));
  const agreements = counts.map(
    (row) => (row.reduce((sum, count) => sum + count * count, 0) - readers) / (readers * (readers - 1)),
  );
  const observed = agreements.reduce((sum, one) => sum + one, 0) / n;
  let expected = 0;
  for (let c = 0; c < categories.length; c++) {
    expected += (counts.reduce((sum, row) => sum + row[c]!, 0) / (n * readers)) ** 2;
  }
  return expected === 1 ? null : (observed - expected) / (1 - expected);
}
