/** The program's version, as artefacts state it; equal to the one in package.json, which a test holds it to. */
export const VERSION = '0.1.0';
