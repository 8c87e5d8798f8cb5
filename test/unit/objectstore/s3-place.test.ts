import { describe, expect, it } from 'vitest';
import { toSgwError } from '../../../src/core/kit/index.ts';
import { formatS3Place, openObjectStore, parseS3Place } from '../../../src/core/objectstore/index.ts';

describe('the URL of a store in a bucket', () => {
  it.each([
    [
      's3://b-1.x/',
      { bucket: 'b-1.x', prefix: '', endpoint: undefined, region: undefined, pathStyle: false },
      's3://b-1.x',
    ],
    ['S3://bucket/a/b/', { bucket: 'bucket', prefix: 'a/b' }, 's3://bucket/a/b'],
    [
      's3://bucket?endpoint=http%3A%2F%2F127.0.0.1%3A9000%2F&region=eu-1&path-style',
      { prefix: '', endpoint: 'http://127.0.0.1:9000', region: 'eu-1', pathStyle: true },
      's3://bucket?endpoint=http://127.0.0.1:9000&region=eu-1&path-style=true',
    ],
    [
      's3://bucket/p?path-style=false&endpoint=https://h.example/s3/',
      { endpoint: 'https://h.example/s3', pathStyle: false },
      's3://bucket/p?endpoint=https://h.example/s3',
    ],
  ])('%s', (text, place, normal) => {
    expect(parseS3Place(text)).toMatchObject(place);
    expect(formatS3Place(parseS3Place(text))).toBe(normal);
    expect(formatS3Place(parseS3Place(normal))).toBe(normal);
  });

  it.each([
    's3://',
    's3://x',
    's3://bucket:80/',
    's3://key:hush@bucket/',
    's3://bucket/a//b',
    's3://bucket/../b/ä',
    's3://bucket/a b',
    's3://bucket/#x',
    's3://bucket/?secret=hush',
    's3://bucket/?endpoint=ftp://host',
    's3://bucket/?endpoint=http://key:hush@host',
    's3://bucket/?endpoint=http://host/?token=hush',
    's3://bucket/?region=a%20b',
    's3://bucket/?path-style=maybe',
    `s3://bucket/${'x/'.repeat(300)}`,
  ])('%s is refused, and no secret repeated', async (text) => {
    const error = toSgwError(await openObjectStore(text).catch((reason: unknown) => reason));
    expect(error).toMatchObject({ kind: 'invalid', code: 'bad-store' });
    expect(JSON.stringify(error.toDocument())).not.toContain('hush');
  });
});
