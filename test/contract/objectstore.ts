/**
 * What every object store and every layer over one must do, whatever is below. A caller gives a function that opens an
 * empty store, and one that removes it.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SgwError, seededRandom } from '../../src/core/kit/index.ts';
import type {
  Etag,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  PutResult,
  StreamedBody,
} from '../../src/core/objectstore/index.ts';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** Removes what the store left behind; called after `store.close()`. */
  readonly remove?: () => Promise<void>;
}

const IF_ABSENT: PutOptions = { condition: { ifAbsent: true } };
const ifMatch = (etag: Etag): PutOptions => ({ condition: { ifMatch: etag } });
const text = (content: string): Buffer => Buffer.from(content);

async function stored(put: Promise<{ outcome: string; etag?: Etag }>): Promise<Etag> {
  const result = await put;
  expect(result.outcome).toBe('stored');
  return result.etag as Etag;
}

async function collect(objects: AsyncIterable<ObjectInfo>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of objects) keys.push(key);
  return keys;
}

async function failureOf(promise: Promise<unknown>): Promise<SgwError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SgwError);
  return error as SgwError;
}

export function objectStoreContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`object store contract: ${name}`, () => {
    let opened: StoreUnderTest;
    let store: ObjectStore;
    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(async () => {
      await store.close();
      await opened.remove?.();
    });

    const read = async (key: string): Promise<string | undefined> => (await store.get(key))?.bytes.toString();

    wholeObjects(() => store, read);
    conditions(() => store, read);
    streams(() => store, read);
    parts(() => store);
    lists(() => store);
    callers(() => store, read);
  });
}

type Read = (key: string) => Promise<string | undefined>;

function wholeObjects(the: () => ObjectStore, read: Read): void {
  it('an absent object has no body, no info, and is not deleted', async () => {
    expect(await the().get('a/b')).toBeUndefined();
    expect(await the().head('a/b')).toBeUndefined();
    expect(await the().delete('a/b')).toBe(false);
  });

  it('get and head answer what put stored, with one etag', async () => {
    const etag = await stored(the().put('a/b', text('hello')));
    expect(await the().get('a/b')).toEqual({ key: 'a/b', sizeBytes: 5, etag, bytes: text('hello') });
    expect(await the().head('a/b')).toEqual({ key: 'a/b', sizeBytes: 5, etag });
  });

  it('every further put replaces the object and its etag', async () => {
    const etags = new Set<Etag>();
    for (let round = 0; round < 6; round++) {
      etags.add(await stored(the().put('k', text(`round ${String(round)}`))));
      expect(await read('k')).toBe(`round ${String(round)}`);
    }
    expect(etags.size).toBe(6);
  });

  it('an empty object is an object', async () => {
    const etag = await stored(the().put('empty', new Uint8Array(0)));
    expect(await the().get('empty')).toEqual({ key: 'empty', sizeBytes: 0, etag, bytes: Buffer.alloc(0) });
    for (const content of ['x', '', 'y', '']) {
      await the().put('empty', text(content));
      expect(await read('empty')).toBe(content);
    }
  });

  it('a body of 16 MiB comes back the same, in each of its first generations', async () => {
    const body = seededRandom(7).bytes(16 * 1024 * 1024);
    for (let generation = 1; generation <= 3; generation++) {
      body[0] = generation;
      await the().put('large', body);
      const got = await the().get('large');
      expect(got?.bytes.equals(body)).toBe(true);
    }
  });

  it('a body in pieces is stored as one', async () => {
    await stored(the().put('a', [text('one'), new Uint8Array(0), text('two')]));
    expect(await read('a')).toBe('onetwo');
    await stored(the().put('b', []));
    expect(await read('b')).toBe('');
  });

  it('bodies are copied: changing a buffer afterwards changes nothing stored', async () => {
    const body = text('before');
    await the().put('k', body);
    body.fill(0);
    const got = await the().get('k');
    got?.bytes.fill(1);
    expect(await read('k')).toBe('before');
  });

  it('a deleted object is gone, and can be made, replaced and deleted again', async () => {
    for (let round = 0; round < 4; round++) {
      expect((await the().put('k', text('one'), IF_ABSENT)).outcome).toBe('stored');
      await the().put('k', text('two'));
      expect(await the().delete('k')).toBe(true);
      expect(await read('k')).toBeUndefined();
      expect(await the().head('k')).toBeUndefined();
      expect(await the().delete('k')).toBe(false);
      expect(await collect(the().list(''))).toEqual([]);
    }
  });

  it('keys that look like parts of each other are different objects', async () => {
    const keys = ['a', 'a.1', 'a.1.2', 'a.1/b', 'a/b', 'a/b.2', 'a.2/1', 'a/1', '1', '1/1', '-', '.a', '..a/b', '_'];
    for (const key of keys) await the().put(key, text(key));
    for (const key of keys) await the().put(key, text(`${key}, again`));
    for (const key of keys) expect(await read(key)).toBe(`${key}, again`);
    expect(await collect(the().list(''))).toEqual([...keys].sort());
  });

  it.each([
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    '../a',
    'a/../b',
    'a/./b',
    'a b',
    'ä',
    'a\\b',
    'a@1',
    'a\0',
    'x'.repeat(201),
    'ab/'.repeat(171) + 'c',
  ])('the key %j is refused by every call', async (key) => {
    for (const call of [
      async () => the().put(key, text('x')),
      async () => the().put(key, text('x'), IF_ABSENT),
      async () => the().get(key),
      async () => the().head(key),
      async () => the().delete(key),
    ]) {
      expect(await failureOf(call())).toMatchObject({ kind: 'invalid', code: 'bad-key' });
    }
  });

  it('the longest keys work', async () => {
    const key = `${'x'.repeat(200)}/${'y'.repeat(200)}/${'z'.repeat(110)}`;
    for (let round = 0; round < 4; round++) await the().put(key, text(String(round)));
    expect(await read(key)).toBe('3');
    expect(await collect(the().list('x'))).toEqual([key]);
  });
}

function conditions(the: () => ObjectStore, read: Read): void {
  it('ifAbsent stores once, and never over an object that is there or was replaced', async () => {
    expect((await the().put('k', text('first'), IF_ABSENT)).outcome).toBe('stored');
    for (const content of ['second', 'third', 'fourth']) {
      expect(await the().put('k', text('intruder'), IF_ABSENT)).toMatchObject({ outcome: 'preconditionFailed' });
      await the().put('k', text(content));
      expect(await read('k')).toBe(content);
    }
    expect(await the().put('k', text('intruder'), IF_ABSENT)).toMatchObject({ outcome: 'preconditionFailed' });
    expect(await read('k')).toBe('fourth');
  });

  it('ifMatch stores over that version only', async () => {
    const etags: Etag[] = [await stored(the().put('k', text('0')))];
    for (let round = 1; round <= 6; round++) {
      const newest = etags[etags.length - 1] as Etag;
      etags.push(await stored(the().put('k', text(String(round)), ifMatch(newest))));
      for (const old of etags.slice(0, -1)) {
        expect(await the().put('k', text('stale'), ifMatch(old))).toMatchObject({ outcome: 'preconditionFailed' });
      }
      expect(await read('k')).toBe(String(round));
    }
  });

  it('ifMatch on an absent or deleted object fails, also with the etag it had', async () => {
    const etag = await stored(the().put('k', text('x')));
    expect(await the().put('other', text('x'), ifMatch(etag))).toMatchObject({ outcome: 'preconditionFailed' });
    await the().delete('k');
    expect(await the().put('k', text('x'), ifMatch(etag))).toMatchObject({ outcome: 'preconditionFailed' });
    await the().put('k', text('y'));
    expect(await the().put('k', text('x'), ifMatch(etag))).toMatchObject({ outcome: 'preconditionFailed' });
    expect(await read('k')).toBe('y');
  });

  it('an etag that no version ever had matches nothing', async () => {
    await the().put('k', text('x'));
    for (const etag of ['', '0', '-1', '99', '01', '1.0', 'nonsense']) {
      expect(await the().put('k', text('y'), ifMatch(etag as Etag))).toMatchObject({ outcome: 'preconditionFailed' });
    }
  });

  it('delete with ifMatch removes that version only', async () => {
    const first = await stored(the().put('k', text('1')));
    const second = await stored(the().put('k', text('2')));
    expect(await failureOf(the().delete('k', { ifMatch: first }))).toMatchObject({
      kind: 'conflict',
      code: 'etag-mismatch',
    });
    expect(await read('k')).toBe('2');
    expect(await the().delete('k', { ifMatch: second })).toBe(true);
    expect(await the().delete('k', { ifMatch: second })).toBe(false);
  });
}

/** A body that comes piece by piece; what `fails` throws instead of its last piece. */
function streamOf(pieces: readonly Buffer[], fails?: SgwError): StreamedBody {
  const whole = Buffer.concat(pieces);
  const come = async function* (): AsyncGenerator<Uint8Array> {
    for (const [i, piece] of pieces.entries()) {
      await Promise.resolve();
      if (fails !== undefined && i === pieces.length - 1) throw fails;
      yield piece;
    }
  };
  return {
    sizeBytes: whole.length,
    sha256: createHash('sha256').update(whole).digest('hex'),
    crc32: crc32(whole).toString(16).padStart(8, '0'),
    pieces: come(),
  };
}

/** Of stores that take bodies piece by piece. */
function streams(the: () => ObjectStore, read: Read): void {
  const put = async (key: string, body: StreamedBody, options?: PutOptions): Promise<PutResult | undefined> =>
    await the().putStream?.(key, body, options);

  it('a body that streams is stored as any other, under its conditions', async (context) => {
    if (the().putStream === undefined) context.skip('it takes no streams');
    const pieces = [seededRandom(1).bytes(3_000_000), Buffer.alloc(0), seededRandom(2).bytes(70_000)];
    const first = await put('s', streamOf(pieces), IF_ABSENT);
    const got = await the().get('s');
    expect(first).toEqual({ outcome: 'stored', etag: got?.etag });
    expect(got?.bytes.equals(Buffer.concat(pieces))).toBe(true);
    expect(await put('s', streamOf([text('x')]), IF_ABSENT)).toMatchObject({ outcome: 'preconditionFailed' });
    expect(await put('s', streamOf([text('new')]), ifMatch(got?.etag ?? ''))).toMatchObject({ outcome: 'stored' });
    expect(await put('s', streamOf([text('old')]), ifMatch(got?.etag ?? ''))).toMatchObject({
      outcome: 'preconditionFailed',
    });
    expect(await read('s')).toBe('new');
    expect(await put('empty', streamOf([]))).toMatchObject({ outcome: 'stored' });
    expect(await read('empty')).toBe('');
  });

  it('a stream that fails before its last piece stores nothing', async (context) => {
    if (the().putStream === undefined) context.skip('it takes no streams');
    const fails = new SgwError('denied', 'not-yours', 'it is not yours to put');
    const pieces = [seededRandom(1).bytes(500_000), text('the end')];
    expect(await failureOf(put('k', streamOf(pieces, fails), IF_ABSENT))).toMatchObject({ code: 'not-yours' });
    expect(await the().get('k')).toBeUndefined();
    const etag = await stored(the().put('k', text('before')));
    expect(await failureOf(put('k', streamOf(pieces, fails)))).toMatchObject({ code: 'not-yours' });
    expect(await the().head('k')).toMatchObject({ etag });
  });
}

function parts(the: () => ObjectStore): void {
  const part = async (span: { offset: number; length: number } | { suffix: number }): Promise<string | undefined> =>
    (await the().get('digits', { span }))?.bytes.toString();

  it('a span answers that part, cut at the ends', async () => {
    for (let generation = 1; generation <= 3; generation++) {
      await the().put('digits', text('0123456789'));
      expect(await part({ offset: 0, length: 10 })).toBe('0123456789');
      expect(await part({ offset: 2, length: 3 })).toBe('234');
      expect(await part({ offset: 9, length: 1 })).toBe('9');
      expect(await part({ offset: 8, length: 100 })).toBe('89');
      expect(await part({ suffix: 4 })).toBe('6789');
      expect(await part({ suffix: 100 })).toBe('0123456789');
    }
  });

  it('the info beside a part is that of the whole object', async () => {
    const etag = await stored(the().put('digits', text('0123456789')));
    expect(await the().get('digits', { span: { offset: 3, length: 1 } })).toMatchObject({ sizeBytes: 10, etag });
  });

  it('a span that starts at or past the end is invalid, one of an absent object is not', async () => {
    await the().put('digits', text('0123456789'));
    await the().put('empty', text(''));
    for (const [key, span] of [
      ['digits', { offset: 10, length: 1 }],
      ['digits', { offset: 1e15, length: 1 }],
      ['empty', { offset: 0, length: 1 }],
      ['empty', { suffix: 1 }],
    ] as const) {
      expect(await failureOf(the().get(key, { span }))).toMatchObject({ kind: 'invalid', code: 'span-past-end' });
    }
    expect(await the().get('absent', { span: { offset: 0, length: 1 } })).toBeUndefined();
  });

  it.each([
    { offset: -1, length: 1 },
    { offset: 0, length: 0 },
    { offset: 0.5, length: 1 },
    { offset: 0, length: Number.NaN },
    { suffix: 0 },
    { suffix: -1 },
  ])('the span %j is refused', async (span) => {
    await the().put('digits', text('0123456789'));
    expect(await failureOf(the().get('digits', { span }))).toMatchObject({ kind: 'invalid', code: 'bad-span' });
  });
}

function lists(the: () => ObjectStore): void {
  const keys = ['a', 'a-b', 'a.b', 'a/x', 'a/y/1', 'a/y/2', 'a0', 'b/1', 'b/10', 'b/2', 'c'];
  const fill = async (): Promise<void> => {
    for (const key of [...keys].reverse()) await the().put(key, text(key));
  };

  it('list yields keys in byte order, with size and etag', async () => {
    await fill();
    expect(await collect(the().list(''))).toEqual(keys);
    for await (const info of the().list('b/')) expect(info).toEqual(await the().head(info.key));
  });

  it('a prefix may end anywhere in a key', async () => {
    await fill();
    for (const prefix of ['a', 'a/', 'a/y', 'a/y/', 'a/y/2', 'b/1', 'c', 'c/', 'd', 'a-', 'a/z/']) {
      expect(await collect(the().list(prefix))).toEqual(keys.filter((key) => key.startsWith(prefix)));
    }
  });

  it('startAfter and limit cut the list', async () => {
    await fill();
    for (const startAfter of ['', 'a', 'a-b', 'a/', 'a/x', 'a/y', 'a/y/1', 'a/z', 'b/10', 'c', 'zz']) {
      const after = keys.filter((key) => key > startAfter);
      expect(await collect(the().list('', { startAfter }))).toEqual(after);
      for (const limit of [0, 1, 2, 100]) {
        expect(await collect(the().list('', { startAfter, limit }))).toEqual(after.slice(0, limit));
      }
      expect(await collect(the().list('a/', { startAfter }))).toEqual(after.filter((key) => key.startsWith('a/')));
    }
  });

  it('replaced objects are listed once and as they are now', async () => {
    await fill();
    for (let round = 0; round < 4; round++) await the().put('a/x', text('x'.repeat(round)));
    await the().delete('a0');
    expect(await collect(the().list(''))).toEqual(keys.filter((key) => key !== 'a0'));
    for await (const info of the().list('a/x')) expect(info.sizeBytes).toBe(3);
  });

  it('folders are listed once each, without what is deeper or beside them', async () => {
    for (const key of ['v/b/log/1', 'v/b/log/2', 'v/a/x', 'v/top', 'w/c/x']) await the().put(key, text('x'));
    expect(await Array.fromAsync(the().listFolders('v/'))).toEqual(['a', 'b']);
    expect(await Array.fromAsync(the().listFolders(''))).toEqual(['v', 'w']);
    expect(await Array.fromAsync(the().listFolders('none/'))).toEqual([]);
    expect((await failureOf(Array.fromAsync(the().listFolders('v')))).code).toBe('bad-prefix');
  });

  it('several hundred objects are listed, and a list may be left early', async () => {
    const many = Array.from({ length: 300 }, (_, i) => `log/${i.toString(16).padStart(16, '0')}`);
    await Promise.all(many.map(async (key) => the().put(key, text(key), IF_ABSENT)));
    expect(await collect(the().list('log/'))).toEqual(many);
    for await (const { key } of the().list('log/')) {
      expect(key).toBe(many[0]);
      break;
    }
  });

  it.each(['/', 'a//', '../', './a', 'a b', 'a@', '*'])('the prefix %j is refused', async (prefix) => {
    expect(await failureOf(collect(the().list(prefix)))).toMatchObject({ kind: 'invalid', code: 'bad-prefix' });
  });
}

function callers(the: () => ObjectStore, read: Read): void {
  it('of many creators exactly one wins, and its bytes are there', async () => {
    const results = await Promise.all(
      Array.from({ length: 16 }, async (_, i) => the().put('k', text(String(i)), IF_ABSENT)),
    );
    const winners = results.flatMap((result, i) => (result.outcome === 'stored' ? [String(i)] : []));
    expect(winners).toEqual([await read('k')]);
  });

  it('a counter incremented by concurrent callers loses nothing', async () => {
    await the().put('counter', text('0'));
    // A refusal after an unknown outcome: that increment may have been made, and another one comes after it.
    let unknown = 0;
    const increment = async (): Promise<void> => {
      for (;;) {
        const now = await the().get('counter');
        if (now === undefined) throw new Error('the counter is gone');
        const next = text(String(Number(now.bytes.toString()) + 1));
        const result = await the().put('counter', next, ifMatch(now.etag));
        if (result.outcome === 'stored') return;
        if (result.ambiguous === true) unknown += 1;
      }
    };
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let i = 0; i < 6; i++) await increment();
      }),
    );
    const count = Number(await read('counter'));
    expect(count).toBeGreaterThanOrEqual(48);
    expect(count).toBeLessThanOrEqual(48 + unknown);
  });

  it('concurrent unconditional puts and deletes all succeed', async () => {
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => (i % 3 === 2 ? the().delete('k') : the().put('k', text(String(i))))),
    );
    await the().put('k', text('last'));
    expect(await read('k')).toBe('last');
  });

  it('a signal that has fired stops every call with its reason', async () => {
    await the().put('k', text('x'));
    const signal = AbortSignal.abort(new SgwError('timeout', 'deadline', 'the deadline passed'));
    for (const call of [
      async () => the().put('k', text('y'), { signal }),
      async () => the().get('k', { signal }),
      async () => the().head('k', { signal }),
      async () => the().delete('k', { signal }),
      async () => collect(the().list('', { signal })),
    ]) {
      expect(await failureOf(call())).toMatchObject({ kind: 'timeout', code: 'deadline' });
    }
    expect(await failureOf(the().get('k', { signal: AbortSignal.abort() }))).toMatchObject({ kind: 'aborted' });
    expect(await read('k')).toBe('x');
  });

  it('close may be called twice', async () => {
    await the().put('k', text('x'));
    await the().close();
    await the().close();
  });

  it('has a description for people', () => {
    expect(the().description).not.toBe('');
  });
}
