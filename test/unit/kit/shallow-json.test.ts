/** JSON from strangers is taken as `JSON.parse` takes it, but for what is nested too deep. */
import { describe, expect, it } from 'vitest';
import { parseShallowJson } from '../../../src/core/kit/index.ts';

const nested = (depth: number): string => `${'[{"a":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}`;

describe('JSON', () => {
  it.each([
    '1',
    '"x"',
    '{"a":[1,{"b":null}]}',
    '"\\"[[[\\\\"',
    `["${'['.repeat(1000)}","\\\\",{}]`,
    `[${'[],'.repeat(1000)}{}]`,
  ])('is taken as it is: %.40s', (text) => {
    expect(parseShallowJson(text)).toEqual(JSON.parse(text));
  });

  it.each(['', '{', '"', '"\\', 'x', ']', '[1,]', '}{'])('that is none is refused: %s', (text) => {
    expect(() => parseShallowJson(text)).toThrow(SyntaxError);
  });

  it('is nested 64 deep at most, wherever the depth is', () => {
    expect(parseShallowJson(nested(64))).toEqual(JSON.parse(nested(64)));
    for (const text of [nested(66), `["]]]]]]",${nested(64)}]`, `{"a":"\\"","b":${nested(64)}}`, '['.repeat(1_000_000)])
      expect(() => parseShallowJson(text)).toThrow('nested more than 64 deep');
  });

  it('that is one long text costs no stack', () => {
    const text = JSON.stringify('x"\\'.repeat(1_000_000));
    expect(parseShallowJson(text)).toBe(JSON.parse(text));
  });
});
