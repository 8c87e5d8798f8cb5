import os from 'node:os';
import { describe, expect, it } from 'vitest';
import { userHomeOf } from '../../../src/core/cli/preferences.ts';
import {
  checkChoice,
  checkName,
  checkReference,
  formatOfPath,
  given,
  parseDuration,
  parseTags,
  parseVolumeSize,
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

describe('sizes of volumes', () => {
  it.each([
    ['0', 'size "0" is too small'],
    ['0.2B', 'size "0.2B" is too small'],
    ['999999PiB', 'size "999999PiB" is too large'],
    ['big', 'size "big" is not a size'],
  ])('%s is refused', (text, message) => {
    expect(() => parseVolumeSize(text, 'size')).toThrow(message);
  });

  it('one byte is a size', () => {
    expect(parseVolumeSize('1', 'size')).toBe(1);
  });
});

it.each([
  ['a.qcow2', 'qcow2'],
  ['/x/A.VMDK', 'vmdk'],
  ['a.vhdx', 'vhdx'],
  ['a.img.vdi', 'vdi'],
  ['a.img', undefined],
  ['qcow2', undefined],
])('%s is written as %s', (file, format) => {
  expect(formatOfPath(file)).toBe(format);
});

it.each(['', 'here', undefined])('a HOME of %j counts as none', (home) => {
  expect(userHomeOf({ HOME: home })).toBe(os.userInfo().homedir);
  expect(userHomeOf({ HOME: '/there' })).toBe('/there');
});

describe('names', () => {
  it.each(['a', 'x'.repeat(128), 'vol-golden', 'snap', 'a-', 'v1.2_3'])('%j is taken', (name) => {
    expect(checkName(name, 'name')).toBe(name);
  });

  it.each([
    '',
    'x'.repeat(129),
    '-a',
    'a\n',
    'a\u0000b',
    ' a',
    'a ',
    'a/b',
    'größe',
    'vol-0',
    'VOL-ABC',
    'snap-0123456789abcdef0',
  ])('%j is refused', (name) => {
    expect(codeOf(() => checkName(name, 'name'))).toBe('bad-name');
  });

  it('what is wrong is said with the value cut and harmless, and one hint', () => {
    const failure = (text: string): unknown => {
      try {
        return checkName(text, 'name');
      } catch (error) {
        return error;
      }
    };
    expect(failure('vol-123')).toMatchObject({ message: 'name "vol-123" looks like an id' });
    expect(failure('a\u001b[2J')).toMatchObject({ message: expect.stringContaining('"a\\u001b[2J"') as string });
    expect(failure('x'.repeat(5000))).toMatchObject({
      message: `name "${'x'.repeat(59)}…" is longer than 128 characters`,
      hint: expect.stringContaining('letters, digits') as string,
    });
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
