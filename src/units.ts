/** Units and coordinate planes as types: a branded number costs nothing at run time and cannot be mixed up by accident. */

/** Pixels of the slide at full resolution. The only coordinates that leave `src/tiling`. */
export type Level0Px = number & { readonly unit?: 'level-0 px' };
/** Pixels of one level of the pyramid. */
export type LevelPx = number & { readonly unit?: 'level px' };
/** Micrometres of tissue per pixel. */
export type Mpp = number & { readonly unit?: 'um/px' };
/** Micrometres of tissue. */
export type Micrometres = number & { readonly unit?: 'um' };

/** Where a physical scale came from; it travels with every number derived from it. */
export type MppSource = 'file' | 'flag' | 'manifest' | 'objective' | 'none';
