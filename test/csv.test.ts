import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatTable, parseCsv, parseTable } from '../src/csv.ts';

describe('comma-separated values', () => {
  it('keeps commas, quotes and line breaks inside quotes', () => {
    expect(parseCsv('t.csv', 'a,b\r\n"1,5","say ""hi""\nthere"\n')).toEqual([
      ['a', 'b'],
      ['1,5', 'say "hi"\nthere'],
    ]);
  });

  it('skips a byte-order mark and empty lines', () => {
    expect(parseTable('t.csv', '\ufeffslide, label\n\na.svs,x\n\n').rows).toEqual([{ slide: 'a.svs', label: 'x' }]);
  });

  it('keeps an empty last cell', () => {
    expect(parseCsv('t.csv', 'a,b,\n1,,')).toEqual([
      ['a', 'b', ''],
      ['1', '', ''],
    ]);
  });

  it('says on which line a cell is malformed, empty lines and breaks within cells counted', () => {
    expect(() => parseCsv('t.csv', 'a\n"b"c\n')).toThrow('t.csv: line 2 has text behind a closing quote');
    expect(() => parseCsv('t.csv', 'a\n\n"b\nb"\nc\n"d,e\nf\n')).toThrow('t.csv: line 6 has a quote that is opened');
    expect(parseTable('t.csv', 'a\r\n\r\n"b\r\nb"\r\nc\r\n').lines).toEqual([3, 5]);
  });

  it('refuses other separators, and rows with more cells than there are columns', () => {
    expect(() => parseTable('t.csv', 'slide;label\na;x\n')).toThrow('separated by semicolons. Save it with commas.');
    expect(() => parseTable('t.csv', 'slide\tlabel\na\tx\n')).toThrow('separated by tabs');
    expect(() => parseTable('t.csv', 'slide,label\na,x\n\nDoe, J,y\nb,x\nc,d,e,f\n')).toThrow(
      'line 4 has 3 cells for 2 columns, and 1 more rows likewise',
    );
    // Empty ones are what spreadsheets leave behind.
    expect(parseTable('t.csv', 'slide,label\na,x,,\n').rows).toEqual([{ slide: 'a', label: 'x' }]);
  });

  it('reads what it wrote', () => {
    const cell = fc.string().map((text) => text.trim());
    const rows = fc.array(fc.record({ one: cell, two: cell.map((text) => `x${text}`) }), { minLength: 1 });
    fc.assert(
      fc.property(rows, (table) => {
        expect(parseTable('t.csv', formatTable(['one', 'two'], table)).rows).toEqual(table);
      }),
    );
  });
});
