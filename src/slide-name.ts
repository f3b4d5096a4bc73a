/** What a slide is called, wherever it is named: in a run, in a table of slides, in a table of predictions or of labels. */

/** Of slides, pictures and bags; `.ome` stands before another. */
const ENDINGS = /\.(svs|tiff?|ndpi|scn|bif|mrxs|vms|vmu|svslide|czi|dzi|dcm|ome|png|jpe?g|webp|bmp|jp2|arrow|h5|pt)$/i;

/**
 * The file's name without its folders and endings, safe as the name of a folder: `slides/My slide.ome.tiff` is `My_slide`. What else
 * stands behind a dot may be part of the name. Empty where nothing is left.
 */
export function slideName(path: string): string {
  let name = path.split(/[\\/]/).at(-1)!;
  while (ENDINGS.test(name)) name = name.replace(ENDINGS, '');
  return name.replace(/[^\p{L}\p{N}._-]+/gu, '_').replace(/^\.+/, '');
}
