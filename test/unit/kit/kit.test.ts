import { describe, expect, it } from 'vitest';
import {
  ERROR_KINDS,
  GIB,
  Semaphore,
  SgwError,
  abortReason,
  formatSize,
  isSnapshotId,
  isVolumeId,
  newSnapshotId,
  newVolumeId,
  parseSize,
  seededRandom,
  throwIfAborted,
  toSgwError,
} from '../../../src/core/kit/index.ts';

describe('sizes', () => {
  it.each([
    ['10GiB', 10 * GIB],
    ['10G', 10 * GIB],
    ['10g', 10 * GIB],
    ['10GB', 10e9],
    ['1.5 KiB', 1536],
    ['4096', 4096],
    ['0', 0],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'ten', '10XB', '-1', '1e9', '9999999PiB', '1,5GiB'])('refuses %j with a hint', (text) => {
    expect(() => parseSize(text, 'size')).toThrow(
      expect.objectContaining({ kind: 'invalid', code: 'bad-size', details: { value: text } }),
    );
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [4 * GIB, '4 GiB'],
    [16 * 1024 * GIB, '16 TiB'],
  ])('prints %d as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});

describe('the table of error kinds', () => {
  it('is total: every kind has an exit code, an HTTP status and an NBD errno', () => {
    for (const [kind, row] of Object.entries(ERROR_KINDS)) {
      expect(row.exitCode, kind).toBeGreaterThan(0);
      expect(row.httpStatus, kind).toBeGreaterThanOrEqual(400);
      expect(row.nbdErrno, kind).toBeGreaterThan(0);
    }
  });

  it('turns system errors into kinds that say what to do', () => {
    const noSpace = Object.assign(new Error('x'), { code: 'ENOSPC', path: '/disk/file', syscall: 'write' });
    expect(toSgwError(noSpace)).toMatchObject({
      kind: 'exhausted',
      code: 'system-enospc',
      details: { path: '/disk/file' },
    });
    expect(toSgwError(new Error('oops'))).toMatchObject({ kind: 'internal' });
    const own = new SgwError('denied', 'x', 'y');
    expect(toSgwError(own)).toBe(own);
  });

  it('gives no mistake of a path, and no lack of means, as a bug', () => {
    const kinds = {
      EINVAL: 'invalid',
      ENAMETOOLONG: 'invalid',
      ELOOP: 'invalid',
      ENFILE: 'unavailable',
      ENOMEM: 'exhausted',
    };
    for (const [code, kind] of Object.entries(kinds)) {
      expect(toSgwError(Object.assign(new Error('x'), { code, path: '/a' })), code).toMatchObject({ kind });
    }
    expect(toSgwError(Object.assign(new Error('x'), { code: 'EINVAL' }))).toMatchObject({ kind: 'internal' });
  });

  it('keeps the first failure when tidying up after it fails too', async () => {
    const first = new SgwError('exhausted', 'disk-full', 'no space left');
    const work = async (): Promise<void> => {
      await using _held = { [Symbol.asyncDispose]: () => Promise.reject(new Error('can not close')) };
      await Promise.reject(first);
    };
    expect(await work().catch(toSgwError)).toBe(first);
  });
});

describe('an aborted signal', () => {
  it('gives its own reason where that is an error of ours', () => {
    const reason = new SgwError('timeout', 'timed-out', 'too late');
    expect(abortReason(AbortSignal.abort(reason))).toBe(reason);
    expect(() => {
      throwIfAborted(AbortSignal.abort());
    }).toThrow(expect.objectContaining({ kind: 'aborted' }));
  });
});

describe('a semaphore', () => {
  it('grants in the order of asking and never more than its capacity', async () => {
    const semaphore = new Semaphore(10);
    const order: number[] = [];
    const first = await semaphore.acquire(8);
    const second = semaphore.acquire(5).then((release) => (order.push(2), release));
    const third = semaphore.acquire(1).then((release) => (order.push(3), release));
    await Promise.resolve();
    expect(order).toEqual([]);
    first();
    first();
    (await second)();
    (await third)();
    expect(order).toEqual([2, 3]);
  });

  it('grants a request above its capacity alone', async () => {
    const semaphore = new Semaphore(4);
    const release = await semaphore.acquire(100);
    const blocked = semaphore.acquire(1);
    release();
    (await blocked)();
  });

  it('lets a waiter go when its signal fires, and serves the next', async () => {
    const semaphore = new Semaphore(1);
    const release = await semaphore.acquire();
    const abort = new AbortController();
    const waiting = semaphore.acquire(1, abort.signal);
    const next = semaphore.acquire(1);
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ kind: 'aborted' });
    release();
    (await next)();
  });
});

describe('ids', () => {
  it('have the form of the AWS API', () => {
    const random = seededRandom(7);
    expect(isVolumeId(newVolumeId(random))).toBe(true);
    expect(isSnapshotId(newSnapshotId(random))).toBe(true);
    expect(isVolumeId('vol-123')).toBe(false);
  });

  it('runs work with a slot, and has it back also when that fails', async () => {
    const turn = new Semaphore(1);
    const order: string[] = [];
    const failing = turn.run(async () => {
      order.push('first');
      await Promise.resolve();
      throw new Error('no');
    });
    const next = turn.run(async () => Promise.resolve(order.push('second')));
    await expect(failing).rejects.toThrow('no');
    expect(await next).toBe(2);
    expect(order).toEqual(['first', 'second']);
  });
});
