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

  it('says where a cell is malformed', () => {
    expect(() => parseCsv('t.csv', 'a\n"b"c\n')).toThrow('t.csv: the row after 1 good ones');
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
