import { describe, expect, it } from 'vitest';
import { positionOf, recordsIn } from '../../../src/core/volume/log-position.ts';

const incarnation = (name: string, baseSeq: number, uploadedSequence: number, firstSequence: number) => ({
  incarnation: name,
  epoch: 1,
  baseSeq,
  uploadedSequence,
  firstSequence,
});

describe('C4 a local log held against the store', () => {
  it('goes on behind the records that the newest data segment holds', () => {
    const found = { incarnations: [incarnation('a', 0, 0, 1)], lastSequence: 50 };
    const store = { dataSeq: 7, records: { incarnation: 'a', last: 30 } };
    expect(positionOf(found, store)).toEqual({ kind: 'continues', uploadedSequence: 30 });
  });

  it('goes on behind what the store has, also where the log itself lost its end', () => {
    const found = { incarnations: [incarnation('a', 0, 0, 1)], lastSequence: 20 };
    const store = { dataSeq: 7, records: { incarnation: 'a', last: 30 } };
    expect(positionOf(found, store)).toEqual({ kind: 'continues', uploadedSequence: 30 });
  });

  it('goes on from its beginning when nothing of it was uploaded and nobody has written since', () => {
    const found = { incarnations: [incarnation('a', 4, 0, 1)], lastSequence: 9 };
    expect(positionOf(found, { dataSeq: 4, records: null })).toEqual({ kind: 'continues', uploadedSequence: 0 });
  });

  it('an opening that died before its first record changes nothing', () => {
    const found = { incarnations: [incarnation('a', 4, 0, 1), incarnation('b', 4, 0, 10)], lastSequence: 9 };
    expect(positionOf(found, { dataSeq: 4, records: null })).toEqual({ kind: 'continues', uploadedSequence: 0 });
  });

  it('is overtaken by a segment of somebody else, and then never replayed', () => {
    const found = { incarnations: [incarnation('a', 4, 0, 1)], lastSequence: 9 };
    const other = { dataSeq: 5, records: { incarnation: 'other', last: 3 } };
    expect(positionOf(found, other)).toEqual({ kind: 'overtaken', uploadedSequence: 0, lostRecords: 9 });
    expect(positionOf(found, { dataSeq: 5, records: null })).toMatchObject({ kind: 'overtaken' });
  });

  it('that is all uploaded is not overtaken by what came later', () => {
    const found = { incarnations: [incarnation('a', 4, 9, 10)], lastSequence: 9 };
    expect(positionOf(found, { dataSeq: 8, records: null })).toEqual({ kind: 'continues', uploadedSequence: 9 });
  });

  it('a new log begins at nothing', () => {
    expect(positionOf({ incarnations: [], lastSequence: 0 }, { dataSeq: 12, records: null })).toEqual({
      kind: 'continues',
      uploadedSequence: 0,
    });
  });
});

describe('C4 which states of a volume a log continues', () => {
  const incarnations = [incarnation('a', 4, 0, 1), incarnation('b', 9, 30, 31)];

  it('one that ends with records of the log, behind these', () => {
    expect(recordsIn(incarnations, { dataSeq: 8, records: { incarnation: 'a', last: 25 } })).toBe(25);
  });

  it('the one that was there when an incarnation began', () => {
    expect(recordsIn(incarnations, { dataSeq: 9, records: null })).toBe(30);
    expect(recordsIn(incarnations, { dataSeq: 4, records: { incarnation: 'x', last: 99 } })).toBe(0);
  });

  it('none that somebody else has written, and none of between', () => {
    expect(recordsIn(incarnations, { dataSeq: 12, records: { incarnation: 'x', last: 3 } })).toBeUndefined();
    expect(recordsIn(incarnations, { dataSeq: 6, records: null })).toBeUndefined();
  });
});
