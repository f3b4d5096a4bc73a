/** The pictures of a run's slides: open slides and finished tiles, shared by all requests. */
import { UserError } from '../errors.ts';
import type { SlideResult } from '../mil/result.ts';
import type { Slide } from '../tiling/slide.ts';
import { ByteCache } from './byte-cache.ts';
import { halvingLevels, PictureTiles, pictureLevels } from './picture.ts';
import { SlidePool } from './slide-pool.ts';

export interface SlidePictures {
  readonly slide: Slide;
  /** In the slide's own levels: what the page shows. */
  readonly own: PictureTiles;
  /** In halves of halves: what Deep Zoom and IIIF viewers want. */
  readonly halving: PictureTiles;
}

const TILE_CACHE_BYTES = 128 * 2 ** 20;

export class Pictures {
  private readonly pool = new SlidePool();
  private readonly cache = new ByteCache(TILE_CACHE_BYTES);
  private readonly pictures = new WeakMap<Slide, SlidePictures>();

  /** Lends the pictures of a slide. @throws UserError `slide-changed`, or as `openSlide`. */
  use<T>(result: SlideResult, work: (pictures: SlidePictures) => Promise<T>): Promise<T> {
    return this.pool.use(result, async (slide) => {
      requireSameSlide(slide, result);
      const found = this.pictures.get(slide) ?? this.open(slide, result);
      return await work(found);
    });
  }

  close(): Promise<void> {
    return this.pool.close();
  }

  private open(slide: Slide, result: SlideResult): SlidePictures {
    const version = pictureVersion(result);
    const opened = {
      slide,
      own: new PictureTiles(slide, pictureLevels(slide), this.cache, `${version}-own`),
      halving: new PictureTiles(slide, halvingLevels(slide), this.cache, `${version}-halving`),
    };
    this.pictures.set(slide, opened);
    return opened;
  }
}

/** Changes with the slide's content. */
export function pictureVersion({ hash }: SlideResult): string {
  return hash.replace(/[^A-Za-z0-9]/g, '').slice(0, 24);
}

/** The hash of a huge file is too slow to take at each opening; its size in pixels tells most mix-ups. */
function requireSameSlide(slide: Slide, result: SlideResult): void {
  const [found] = slide.levels;
  if (found && found.width === result.width && found.height === result.height) return;
  throw new UserError(
    'slide-changed',
    `${result.source} is not the slide that was run: it has ${found?.width} x ${found?.height} px, the run saw ${result.width} x ${result.height}.`,
    'Put the original file back, or run the slide again.',
  );
}
