/** A page that stands on files (`lamina export`) instead of a server: it reads, and keeps what is drawn in this browser. */
import type { FeatureCollection, Geometry } from 'geojson';
import type { AnnotationProperties } from '../api.ts';
import type { Annotation } from './server.ts';

/** The export marks the page. Elements of the class `needs-server` are then hidden, and those of `only-bundle` shown. */
export const isBundle = document.documentElement.hasAttribute('data-bundle');

export function keptAnnotations(slide: string): FeatureCollection<Geometry, AnnotationProperties> {
  const features = JSON.parse(localStorage.getItem(keyOf(slide)) ?? '[]') as Annotation[];
  return { type: 'FeatureCollection', features };
}

/** A new annotation, or a new version of one. */
export function keepAnnotation(slide: string, annotation: Annotation): void {
  const others = keptAnnotations(slide).features.filter(({ id }) => id !== annotation.id);
  keep(slide, [...others, annotation]);
}

export function dropAnnotation(slide: string, annotation: string): void {
  keep(
    slide,
    keptAnnotations(slide).features.filter(({ id }) => id !== annotation),
  );
}

function keep(slide: string, features: readonly Annotation[]): void {
  try {
    localStorage.setItem(keyOf(slide), JSON.stringify(features));
  } catch (error) {
    throw new Error('This browser keeps nothing for this page. Export the annotations before you leave it.', {
      cause: error,
    });
  }
}

/** Bundles on one host share the storage. */
function keyOf(slide: string): string {
  return `lamina-annotations ${new URL('.', location.href).pathname} ${slide}`;
}
