/** Reviews: which reader sees which slides in which order, and what they said. */
import { randomUUID } from 'node:crypto';
import { UserError } from '../errors.ts';
import { createRandom, shuffle } from '../random.ts';
import { cohenKappa, fleissKappa } from './agreement.ts';
import type {
  Opinion,
  PairAgreement,
  QueueView,
  ReaderProgress,
  ReviewSetup,
  ReviewSummary,
  ReviewView,
  Verdict,
  VerdictEntry,
} from './api.ts';
import type { Database } from './database.ts';

interface ReviewRow {
  readonly id: string;
  readonly name: string;
  readonly seed: number;
  readonly blind_model: number;
  readonly blind_label: number;
  readonly created_at: string;
}

interface VerdictRow extends Omit<Verdict, 'region'> {
  readonly region: Verdict['region'];
}

export interface Blindness {
  readonly model: boolean;
  readonly label: boolean;
}

/** What is known of a slide apart from the readers. */
export interface SlideTruth {
  readonly prediction: string | null;
  readonly label: string | null;
}

const OPINIONS: readonly Opinion[] = ['agree', 'disagree', 'unsure'];
const LONGEST = { name: 200, note: 20_000, label: 200 };
const NOT = 'not ';

export class Reviews {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  async list(): Promise<ReviewView[]> {
    const reviews = await this.database.rows<ReviewRow>('SELECT * FROM review ORDER BY created_at');
    return Promise.all(reviews.map(async (row) => ({ ...viewOf(row), readers: await this.progress(row.id) })));
  }

  /** @throws UserError `bad-request` */
  async create(setup: ReviewSetup, who: string): Promise<ReviewView> {
    const { name, readers, slides, seed, blindModel, blindLabel } = setup;
    requireText('The name', name, LONGEST.name);
    if (!Array.isArray(readers) || readers.length === 0) throw bad('A review needs a reader.', 'Name at least one.');
    if (!Array.isArray(slides) || slides.length === 0) throw bad('A review needs slides.', 'Choose at least one.');
    for (const reader of readers) requireText('The name of a reader', reader, LONGEST.name);
    for (const [what, names] of [
      ['reader', readers],
      ['slide', slides],
    ] as const) {
      if (new Set(names).size < names.length) throw bad(`A ${what} is named twice.`, 'Name each once.');
    }
    if (!Number.isSafeInteger(seed)) throw bad(`The seed ${seed} is no whole number.`, 'Take one like 1.');
    const id = randomUUID();
    const row = [id, name.trim(), seed, blindModel ? 1 : 0, blindLabel ? 1 : 0, new Date().toISOString(), who];
    await this.database.change(who, 'review', { id, ...setup }, [
      { sql: 'INSERT INTO review VALUES (?, ?, ?, ?, ?, ?, ?)', args: row },
      ...readers.flatMap((reader) =>
        shuffle(createRandom(seedOf(seed, reader)), [...slides]).map((slide, place) => ({
          sql: 'INSERT INTO assignment VALUES (?, ?, ?, ?)',
          args: [id, reader, place, slide],
        })),
      ),
    ]);
    return (await this.list()).find((review) => review.id === id)!;
  }

  /** Ids of the slides with a verdict in any review. @param reader whose verdicts count; null for anybody's. */
  async decided(reader: string | null): Promise<string[]> {
    const rows = await this.database.rows<{ slide: string }>(
      'SELECT DISTINCT slide FROM verdict WHERE ? IS NULL OR reader = ?',
      [reader, reader],
    );
    return rows.map(({ slide }) => slide);
  }

  /** The slides of one reader in order, with what was said, and where to go on. */
  async queue(id: string, reader: string): Promise<QueueView> {
    const review = await this.review(id);
    const slides = await this.database.rows<{ slide: string }>(
      'SELECT slide FROM assignment WHERE review = ? AND reader = ? ORDER BY place',
      [id, reader],
    );
    if (slides.length === 0) throw notFound(`${reader} has no slides in the review ${review.name}.`);
    const said = new Map((await this.latest(id)).filter((one) => one.reader === reader).map((one) => [one.slide, one]));
    const items = slides.map(({ slide }) => ({ slide, verdict: said.get(slide) ?? null }));
    const next = items.findIndex(({ verdict }) => verdict === null);
    return { review: viewOf(review), reader, items, next: next < 0 ? null : next };
  }

  /**
   * Stores a verdict; a later one on the same slide replaces it, and both are kept. Sent twice under the same id, as after a
   * lost answer, it is stored once.
   * @throws UserError `bad-request`, `not-found`, `no-database`.
   */
  async decide(id: string, entry: VerdictEntry, truth: SlideTruth, who: string): Promise<Verdict> {
    const review = await this.review(id);
    const { reader, slide, region = null, note = '', seconds } = entry;
    const [place] = await this.database.rows(
      'SELECT place FROM assignment WHERE review = ? AND reader = ? AND slide = ?',
      [id, reader, slide],
    );
    if (!place) throw notFound(`${slide} is not among the slides of ${reader} in the review ${review.name}.`);
    if (!/^[\w-]{8,64}$/.test(entry.id ?? '')) throw bad('The verdict has no id.', 'Reload the page.');
    if (![null, 'right', 'wrong'].includes(region)) throw bad(`The region is "${region}".`, 'Say right or wrong.');
    if (typeof note !== 'string' || note.length > LONGEST.note) throw bad('The note is too long.', 'Shorten it.');
    if (!(Number.isFinite(seconds) && seconds >= 0)) throw bad('The time is no number.', 'Reload the page.');
    const { opinion, label } = opinionOf(entry, truth);
    const at = new Date().toISOString();
    const verdict: Verdict = { id: entry.id, review: id, reader, slide, opinion, region, label, note, seconds, at };
    const found = await this.database.rows<VerdictRow>('SELECT * FROM verdict WHERE id = ?', [entry.id]);
    if (found[0]) return plain(found[0]);
    await this.database.change(who, 'verdict', verdict, [
      {
        sql: `INSERT INTO verdict (id, review, reader, slide, opinion, region, label, note, seconds, at)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        args: [entry.id, id, reader, slide, opinion, region, label, note, seconds, at],
      },
    ]);
    return verdict;
  }

  /** Progress, agreement and where readers differ. */
  async summary(id: string, truth: (slide: string) => SlideTruth): Promise<ReviewSummary> {
    const review = await this.review(id);
    const verdicts = await this.latest(id);
    const readers = await this.progress(id);
    const bySlide = groupBy(verdicts, ({ slide }) => slide);
    const category = (verdict: Verdict) => verdict.label ?? verdict.opinion;
    const pairs: PairAgreement[] = [];
    for (const [i, { name: a }] of readers.entries()) {
      for (const { name: b } of readers.slice(i + 1)) {
        const both = [...bySlide.values()].flatMap((given) => {
          const [first, second] = [a, b].map((name) => given.find(({ reader }) => reader === name));
          return first && second ? [[category(first), category(second)] as const] : [];
        });
        pairs.push({ readers: [a, b], slides: both.length, kappa: cohenKappa(both) });
      }
    }
    const byAll = [...bySlide.values()].filter((given) => given.length === readers.length && readers.length > 1);
    const disagreements = [...bySlide].flatMap(([slide, given]) => {
      const said = given.map((verdict) => ({ reader: verdict.reader, said: category(verdict), note: verdict.note }));
      return new Set(said.map((one) => one.said)).size > 1 ? [{ slide, ...truth(slide), said }] : [];
    });
    return {
      review: { ...viewOf(review), readers },
      pairs,
      fleiss: { slides: byAll.length, kappa: fleissKappa(byAll.map((given) => given.map(category))) },
      disagreements,
    };
  }

  /** The last verdict of each reader on each slide, with the model and the label. */
  async latest(id: string): Promise<Verdict[]> {
    const rows = await this.database.rows<VerdictRow>(
      `SELECT * FROM verdict WHERE number IN
        (SELECT max(number) FROM verdict WHERE review = ? GROUP BY reader, slide) ORDER BY number`,
      [id],
    );
    return rows.map(plain);
  }

  /** What may not be shown: to one who has still to read the slide in a blinded review. */
  async blindness(reader: string): Promise<Map<string, Blindness>> {
    const rows = await this.database.rows<{ slide: string; model: number; label: number }>(
      `SELECT slide, max(blind_model) AS model, max(blind_label) AS label
        FROM assignment JOIN review ON review.id = assignment.review
        WHERE reader = ?1 AND NOT EXISTS (SELECT 1 FROM verdict WHERE verdict.review = assignment.review
          AND verdict.reader = ?1 AND verdict.slide = assignment.slide)
        GROUP BY slide`,
      [reader],
    );
    return new Map(rows.map(({ slide, model, label }) => [slide, { model: model === 1, label: label === 1 }]));
  }

  async blindnessOf(id: string): Promise<Blindness> {
    const { blind_model, blind_label } = await this.review(id);
    return { model: blind_model === 1, label: blind_label === 1 };
  }

  private async review(id: string): Promise<ReviewRow> {
    const [found] = await this.database.rows<ReviewRow>('SELECT * FROM review WHERE id = ?', [id]);
    if (found) return found;
    throw notFound('There is no such review.');
  }

  private async progress(id: string): Promise<ReaderProgress[]> {
    const slides = await this.database.rows<{ reader: string; slides: number }>(
      'SELECT reader, count(*) AS slides FROM assignment WHERE review = ? GROUP BY reader ORDER BY min(rowid)',
      [id],
    );
    const verdicts = groupBy(await this.latest(id), ({ reader }) => reader);
    return slides.map(({ reader, slides }) => {
      const given = verdicts.get(reader) ?? [];
      const times = given.map(({ seconds }) => seconds).sort((a, b) => a - b);
      const opinions = Object.fromEntries(
        OPINIONS.map((opinion) => [opinion, given.filter((one) => one.opinion === opinion).length]),
      ) as Record<Opinion, number>;
      return { name: reader, slides, done: given.length, medianSeconds: times[times.length >> 1] ?? null, opinions };
    });
  }
}

/**
 * Opinion and category of a verdict. One who was blinded to the model names a class, and agrees when it is the model's; one who
 * agrees says the model's class; one who disagrees without a better class says that it is not the model's.
 */
function opinionOf({ opinion, label }: VerdictEntry, { prediction }: SlideTruth) {
  const named = typeof label === 'string' && label.trim() ? label.trim().slice(0, LONGEST.label) : null;
  if (opinion === 'unsure') return { opinion, label: null };
  if (opinion === 'agree') return { opinion, label: prediction };
  if (opinion === 'disagree') return { opinion, label: named ?? (prediction === null ? null : `${NOT}${prediction}`) };
  if (opinion === null && named) {
    return { opinion: named === prediction ? ('agree' as const) : ('disagree' as const), label: named };
  }
  throw bad('The verdict says nothing.', 'Choose agree, disagree, unsure, or a class.');
}

function viewOf({ id, name, seed, blind_model, blind_label, created_at }: ReviewRow): Omit<ReviewView, 'readers'> {
  return { id, name, seed, blindModel: blind_model === 1, blindLabel: blind_label === 1, createdAt: created_at };
}

function plain({ id, review, reader, slide, opinion, region, label, note, seconds, at }: VerdictRow): Verdict {
  return { id, review, reader, slide, opinion, region, label, note, seconds, at };
}

/** Another order for each reader, the same whenever it is asked for (FNV-1a). */
function seedOf(seed: number, reader: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (const byte of new TextEncoder().encode(reader)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

function requireText(what: string, text: unknown, longest: number): void {
  if (typeof text === 'string' && text.trim() && text.length <= longest) return;
  throw bad(`${what} is missing or too long.`, `Take 1 to ${longest} letters.`);
}

function bad(problem: string, hint: string): UserError {
  return new UserError('bad-request', problem, hint);
}

function notFound(problem: string): UserError {
  return new UserError('not-found', problem, 'Reload the page.');
}
