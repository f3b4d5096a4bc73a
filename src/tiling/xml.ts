/** The small XML documents that scanners put into their files: elements, attributes, text. No entities but the five, no DTD. */

export interface XmlElement {
  /** Without the prefix of its namespace. */
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  readonly text: string;
}

interface OpenElement {
  readonly name: string;
  readonly attributes: Record<string, string>;
  readonly children: OpenElement[];
  text: string;
}

const maxDepth = 64;
const maxElements = 1_000_000;

/** The root element. @throws Error if the text is no well-formed document. */
export function parseXml(text: string): XmlElement {
  const root: OpenElement = { name: '', attributes: {}, children: [], text: '' };
  const open = [root];
  let elements = 0;
  for (let at = 0; at < text.length; ) {
    const inner = open.at(-1)!;
    const start = text.indexOf('<', at);
    inner.text += decodeEntities(text.slice(at, start < 0 ? text.length : start));
    if (start < 0) break;
    if (text.startsWith('<![CDATA[', start)) {
      at = endOf(text, ']]>', start);
      inner.text += text.slice(start + 9, at - 3);
    } else if (text.startsWith('<!--', start)) {
      at = endOf(text, '-->', start);
    } else {
      at = endOf(text, '>', start);
      const tag = text.slice(start + 1, at - 1);
      if (tag.startsWith('?') || tag.startsWith('!')) continue;
      if (tag.startsWith('/')) {
        if (open.length === 1 || localName(tag.slice(1).trim()) !== inner.name)
          throw new Error('its XML is not well-formed');
        open.pop();
        continue;
      }
      const element = parseTag(tag);
      inner.children.push(element);
      if (++elements > maxElements || open.length > maxDepth) throw new Error('its XML is too large');
      if (!tag.endsWith('/')) open.push(element);
    }
  }
  const [first] = root.children;
  if (open.length !== 1 || first === undefined) throw new Error('its XML is not well-formed');
  return first;
}

/** All elements of a name below (or at) an element, in the order of the document. */
export function elementsNamed(element: XmlElement, name: string): XmlElement[] {
  const below = element.children.flatMap((child) => elementsNamed(child, name));
  return element.name === name ? [element, ...below] : below;
}

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  if (at < 0) throw new Error('its XML is cut off');
  return at + mark.length;
}

function parseTag(tag: string): OpenElement {
  const name = /^[^\s/]+/.exec(tag)?.[0] ?? '';
  const attributes: Record<string, string> = {};
  for (const [, key, double, single] of tag.matchAll(/([^\s="'/]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) {
    attributes[localName(key!)] = decodeEntities(double ?? single!);
  }
  return { name: localName(name), attributes, children: [], text: '' };
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal, hex, name) => {
    const code = decimal ? Number(decimal) : hex ? Number.parseInt(hex, 16) : null;
    if (code !== null) return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    return entities[name] ?? whole;
  });
}
