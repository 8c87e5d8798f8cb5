/** key=value pairs: in and out of data segments, and the forms of values. */
import { describe, expect, it } from 'vitest';
import {
  encodeBinary,
  encodePairs,
  parseBinary,
  parseBoolean,
  parseNumber,
  splitText,
  TextAssembler,
  TextError,
  type Pair,
} from '../../../src/core/iscsi/text.ts';
import { text } from './login-builder.ts';

const parse = (bytes: Buffer): readonly Pair[] | undefined => new TextAssembler().add(bytes, false);

describe('a text', () => {
  it('has pairs in their order, with whatever stands behind the first equals sign', () => {
    expect(parse(text('A=1', 'B=', 'X-com.a_b+c@d=x=y', 'InitiatorAlias=bücher'))).toEqual([
      { key: 'A', value: '1' },
      { key: 'B', value: '' },
      { key: 'X-com.a_b+c@d', value: 'x=y' },
      { key: 'InitiatorAlias', value: 'bücher' },
    ]);
  });

  it('may lack the last NUL, have more of them, or be empty', () => {
    expect(parse(Buffer.from('\0A=1\0\0\0B=2'))).toEqual([
      { key: 'A', value: '1' },
      { key: 'B', value: '2' },
    ]);
    expect(parse(Buffer.alloc(0))).toEqual([]);
    expect(parse(Buffer.alloc(3))).toEqual([]);
  });

  it('is the same wherever it is cut into PDUs', () => {
    const whole = text('HeaderDigest=CRC32C,None', 'MaxBurstLength=262144', 'X-a=');
    const expected = parse(whole);
    for (let cut = 0; cut <= whole.length; cut++) {
      const assembler = new TextAssembler();
      const first = Buffer.from(whole.subarray(0, cut));
      expect(assembler.add(first, true)).toBeUndefined();
      first.fill(0x41);
      expect(assembler.add(Buffer.alloc(0), true)).toBeUndefined();
      expect(assembler.add(whole.subarray(cut), false)).toEqual(expected);
      expect(assembler.add(text('Next=1'), false)).toEqual([{ key: 'Next', value: '1' }]);
    }
  });

  it.each([
    ['no pairs', Buffer.from('hello\0')],
    ['no key', Buffer.from('=x\0')],
    ['a key that begins with a digit', Buffer.from('1a=x\0')],
    ['a key with a blank', Buffer.from('a b=x\0')],
    ['a key of 64 bytes', text(`${'k'.repeat(64)}=x`)],
    ['a key twice', text('A=1', 'A=1')],
    ['257 keys', text(...Array.from({ length: 257 }, (_, i) => `K${i}=`))],
    ['a value of 256 bytes', text(`A=${'v'.repeat(256)}`)],
    ['a value of 128 characters of two bytes', text(`A=${'é'.repeat(128)}`)],
    ['a CHAP_C of more than 1024 bytes', text(`CHAP_C=0x${'ab'.repeat(1025)}`)],
  ])('is refused with %s', (_, bytes) => {
    expect(() => parse(bytes)).toThrow(TextError);
  });

  it('takes what is just within the limits', () => {
    const pairs = [`${'k'.repeat(63)}=${'v'.repeat(255)}`, `CHAP_C=0x${'ab'.repeat(1024)}`];
    expect(parse(text(...pairs))).toHaveLength(2);
    expect(parse(text(...Array.from({ length: 256 }, (_, i) => `K${i}=`)))).toHaveLength(256);
  });

  it('is bounded over all of its PDUs', () => {
    const assembler = new TextAssembler();
    const piece = Buffer.alloc(8192);
    for (let i = 0; i < 8; i++) expect(assembler.add(piece, true)).toBeUndefined();
    expect(() => assembler.add(Buffer.alloc(1), true)).toThrow(TextError);
    const several = new TextAssembler();
    for (let i = 0; i < 20; i++) expect(several.add(piece, false)).toEqual([]);
  });

  it('is encoded with a NUL behind each pair, and cut into pieces', () => {
    const bytes = encodePairs([
      { key: 'A', value: '1' },
      { key: 'B', value: 'ü' },
    ]);
    expect(bytes).toEqual(text('A=1', 'B=ü'));
    expect(splitText(bytes, 4).map(String)).toEqual(['A=1\0', 'B=ü', '\0']);
    expect(splitText(bytes, 100)).toEqual([bytes]);
    expect(splitText(Buffer.alloc(0), 4)).toEqual([Buffer.alloc(0)]);
  });
});

describe('values', () => {
  it.each([
    ['0', 0],
    ['8192', 8192],
    ['0x1F', 31],
    ['0X00ff', 255],
    ['', undefined],
    ['007', undefined],
    ['-1', undefined],
    ['+1', undefined],
    ['1.5', undefined],
    ['1e3', undefined],
    ['0x', undefined],
    [' 1', undefined],
    ['99999999999999999999', undefined],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('the number %j is %j', (value, number) => {
    expect(parseNumber(value)).toBe(number);
  });

  it('booleans are Yes and No', () => {
    expect(['Yes', 'No', 'yes', '1', ''].map(parseBoolean)).toEqual([true, false, undefined, undefined, undefined]);
  });

  it.each([
    ['0x00ff', '00ff'],
    ['0XAb', 'ab'],
    ['0bAP8=', '00ff'],
    ['0BAP8B', '00ff01'],
    ['0bAA==', '00'],
    ['0x', undefined],
    ['0x0', undefined],
    ['0xzz', undefined],
    ['0b', undefined],
    ['0bA', undefined],
    ['0bAAA', undefined],
    ['0b====', undefined],
    ['0bAA==AA==', undefined],
    ['00ff', undefined],
    [`0x${'00'.repeat(1025)}`, undefined],
    [`0b${Buffer.alloc(1025).toString('base64')}`, undefined],
  ])('the binary value %j is %j', (value, hex) => {
    expect(parseBinary(value)?.toString('hex')).toBe(hex);
  });

  it('binary values are sent in hexadecimal', () => {
    expect(encodeBinary(Buffer.of(0, 0xab))).toBe('0x00ab');
  });
});
