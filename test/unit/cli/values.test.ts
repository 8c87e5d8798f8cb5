import { describe, expect, it } from 'vitest';
import {
  checkChoice,
  checkName,
  checkReference,
  given,
  parseDuration,
  parseTags,
  requireOne,
} from '../../../src/core/cli/values.ts';

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'no error';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['30', 30_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['0', 0],
  ])('%s is %d ms', (text, durationMs) => {
    expect(parseDuration(text, '--timeout')).toBe(durationMs);
  });

  it.each(['', 's', '5 parsecs', '-1s', '1e3s', '99d', 'NaN'])('%j is refused', (text) => {
    expect(codeOf(() => parseDuration(text, '--timeout'))).toBe('bad-duration');
  });
});

describe('names', () => {
  it.each(['a', 'x'.repeat(128), 'golden image', 'größe', '日本', 'vol-golden', 'snap', '-'.padStart(2, 'a')])(
    '%j is taken',
    (name) => {
      expect(checkName(name, 'name')).toBe(name);
    },
  );

  it.each(['', 'x'.repeat(129), '-a', 'a\n', 'a\u0000b', ' a', 'a ', 'vol-0', 'VOL-ABC', 'snap-0123456789abcdef0'])(
    '%j is refused',
    (name) => {
      expect(codeOf(() => checkName(name, 'name'))).toBe('bad-name');
    },
  );

  it('a name of 128 characters beyond the basic plane is taken', () => {
    expect(checkName('𝔘'.repeat(128), 'name')).toHaveLength(256);
  });
});

it('references may be ids, and are not empty', () => {
  expect(checkReference('vol-0123', 'volume')).toBe('vol-0123');
  expect(codeOf(() => checkReference(' ', 'volume'))).toBe('bad-reference');
});

it('tags are read one a text, or with commas in one text', () => {
  expect(parseTags(['a=1', 'b=', 'c=x=y,z'])).toEqual({ a: '1', b: '', c: 'x=y,z' });
  expect(parseTags('a=1,b=2')).toEqual({ a: '1', b: '2' });
  expect(parseTags(['__proto__=x'])).toEqual(Object.fromEntries([['__proto__', 'x']]));
  expect(codeOf(() => parseTags(['a']))).toBe('bad-tag');
  expect(codeOf(() => parseTags(['=a']))).toBe('bad-tag');
  expect(codeOf(() => parseTags(['a=1', 'a=1']))).toBe('bad-tag');
});

it('a choice is one of the choices', () => {
  expect(checkChoice('b', ['a', 'b'], '--x')).toBe('b');
  expect(codeOf(() => checkChoice('c', ['a', 'b'], '--x'))).toBe('bad-choice');
});

it('what was not given stays out of an input', () => {
  expect(Object.keys(given({ a: undefined, b: false, c: 0 }))).toEqual(['b', 'c']);
});

it('exactly one of several flags is needed', () => {
  requireOne({ '--name': 'a', '--into': undefined });
  expect(
    codeOf(() => {
      requireOne({ '--name': 'a', '--into': 'b' });
    }),
  ).toBe('one-of');
  expect(
    codeOf(() => {
      requireOne({ '--name': undefined, '--into': undefined });
    }),
  ).toBe('one-of');
});
