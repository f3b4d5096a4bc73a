/** Annotations of slides: GeoJSON features in level-0 pixels, as QuPath writes and reads them. Every version is kept. */
import { randomUUID } from 'node:crypto';
import type { Feature, FeatureCollection, Geometry, Position } from 'geojson';
import { UserError } from '../errors.ts';
import type { User } from './accounts.ts';
import type { AnnotationProperties } from './api.ts';
import type { Database } from './database.ts';

export type Annotation = Feature<Geometry, AnnotationProperties>;

interface Version {
  readonly id: string;
  readonly author: string;
  readonly feature: string | null;
}

const MOST = { points: 200_000, features: 20_000, text: 5000 };
const TYPES = ['Point', 'MultiPoint', 'LineString', 'Polygon', 'MultiPolygon'] as const;

export class Annotations {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  async of(slide: string): Promise<FeatureCollection<Geometry, AnnotationProperties>> {
    const rows = await this.database.rows<Version>(
      `SELECT id, author, feature FROM annotation WHERE number IN
        (SELECT max(number) FROM annotation WHERE slide = ? GROUP BY id) AND feature IS NOT NULL ORDER BY number`,
      [slide],
    );
    return { type: 'FeatureCollection', features: rows.map(({ feature }) => JSON.parse(feature!) as Annotation) };
  }

  /**
   * Stores features, new ones or new versions. Those without an id of their own get one.
   * @throws UserError `bad-request`, `not-allowed` (somebody else's), `no-database`.
   */
  async save(slide: string, features: readonly unknown[], user: User, author: string): Promise<Annotation[]> {
    if (features.length > MOST.features) throw bad(`There are ${features.length} annotations.`, 'Split the file.');
    const owners = await this.owners(slide);
    const cleaned = features.map((feature) => clean(feature, author));
    for (const { id } of cleaned) requireOwn(user, author, owners.get(String(id)));
    await this.write(
      slide,
      'annotation',
      author,
      cleaned.map((feature) => [String(feature.id), JSON.stringify(feature)]),
    );
    return cleaned;
  }

  async remove(slide: string, id: string, user: User, author: string): Promise<void> {
    const owner = (await this.owners(slide)).get(id);
    if (owner === undefined) throw new UserError('not-found', 'There is no such annotation.', 'Reload the page.');
    requireOwn(user, author, owner);
    await this.write(slide, 'annotation removed', author, [[id, null]]);
  }

  private async owners(slide: string): Promise<Map<string, string>> {
    const rows = await this.database.rows<Version>(
      `SELECT id, author FROM annotation WHERE number IN
        (SELECT min(number) FROM annotation WHERE slide = ? GROUP BY id)`,
      [slide],
    );
    return new Map(rows.map(({ id, author }) => [id, author]));
  }

  private async write(slide: string, what: string, author: string, versions: readonly [string, string | null][]) {
    const at = new Date().toISOString();
    await this.database.change(
      author,
      what,
      { slide, ids: versions.map(([id]) => id) },
      versions.map(([id, feature]) => ({
        sql: 'INSERT INTO annotation (id, slide, author, at, feature) VALUES (?, ?, ?, ?, ?)',
        args: [id, slide, author, at, feature],
      })),
    );
  }
}

/** A reader with an account changes what is his or hers. */
function requireOwn({ role }: User, author: string, owner: string | undefined): void {
  if (owner === undefined || owner === author || role === 'admin') return;
  throw new UserError('not-allowed', `This annotation is ${owner}’s.`, 'Draw your own beside it.');
}

/** What is understood of a feature, complete; the rest is left out. */
function clean(given: unknown, author: string): Annotation {
  const { id, geometry, properties } = (given ?? {}) as Partial<Feature>;
  const { classification, name, metadata, lamina } = (properties ?? {}) as Partial<AnnotationProperties>;
  const className = text(classification?.name);
  const [label, note] = [text(name), text(metadata?.ANNOTATION_DESCRIPTION)];
  const color = Array.isArray(classification?.color) ? classification.color.map((c) => Number(c) & 255) : [];
  return {
    type: 'Feature',
    id: typeof id === 'string' && /^[\w-]{8,64}$/.test(id) ? id : randomUUID(),
    geometry: cleanGeometry(geometry),
    properties: {
      objectType: 'annotation',
      ...(className && {
        classification: {
          name: className,
          color: color.length === 3 ? (color as [number, number, number]) : ([200, 0, 0] as const),
        },
      }),
      ...(label && { name: label }),
      ...(note && { metadata: { ANNOTATION_DESCRIPTION: note } }),
      lamina: { tool: text(lamina?.tool) || 'imported', author },
    },
  };
}

function cleanGeometry(given: unknown): Geometry {
  const { type, coordinates } = (given ?? {}) as { type?: unknown; coordinates?: unknown };
  if (!TYPES.includes(type as never))
    throw bad(`A geometry is of the type ${String(type)}.`, `Take ${TYPES.join(', ')}.`);
  let points = 0;
  const depth = { Point: 0, MultiPoint: 1, LineString: 1, Polygon: 2, MultiPolygon: 3 }[type as (typeof TYPES)[number]];
  const walk = (value: unknown, levels: number): unknown => {
    if (!Array.isArray(value)) throw bad('A geometry has no coordinates.', 'Export it again.');
    if (levels > 0) {
      const parts = value.map((part) => walk(part, levels - 1));
      return levels === 1 && (type === 'Polygon' || type === 'MultiPolygon') ? closed(parts as Position[]) : parts;
    }
    const [x, y] = value;
    if (!(Number.isFinite(x) && Number.isFinite(y) && Math.abs(x) < 2 ** 31 && Math.abs(y) < 2 ** 31)) {
      throw bad('A geometry has a coordinate that is no number of pixels.', 'Export it in pixels of full resolution.');
    }
    if (++points > MOST.points) throw bad(`An annotation has more than ${MOST.points} points.`, 'Simplify it.');
    return [x, y];
  };
  return { type, coordinates: walk(coordinates, depth) } as Geometry;
}

/** A ring ends where it began. */
function closed(ring: Position[]): Position[] {
  const [first, last] = [ring[0], ring.at(-1)];
  if (!first || ring.length < 3) throw bad('A polygon has fewer than three corners.', 'Draw it again.');
  return first[0] === last![0] && first[1] === last![1] ? ring : [...ring, first];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MOST.text) : '';
}

function bad(problem: string, hint: string): UserError {
  return new UserError('bad-request', problem, hint);
}
