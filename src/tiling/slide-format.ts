/** The contract of a slide format: one file per format, one line each in `open-slide.ts`. */
import type { ByteSource } from './byte-source.ts';
import type { GivenScale } from './physical-scale.ts';
import type { Slide } from './slide.ts';
import type { TiffPage } from './tiff-file.ts';

/** A file that may be a slide, and what has been found out about it so far. */
export interface Candidate {
  readonly source: ByteSource;
  /** The first bytes of the file. */
  readonly head: Uint8Array;
  /** The pages if it is a TIFF file, else null; read once, at first call. */
  tiffPages(): Promise<readonly TiffPage[] | null>;
}

export interface SlideFormat {
  /** `Slide.format` of what it opens. */
  readonly name: string;
  /** Whether the file is of this format; touches no pixels. */
  recognises(candidate: Candidate): Promise<boolean>;
  /** Opens a recognised file; the slide takes over the candidate's source. */
  open(candidate: Candidate, given: GivenScale): Promise<Slide>;
}
