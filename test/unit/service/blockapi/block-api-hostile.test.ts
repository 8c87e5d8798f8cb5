/** Who must not, and what is wrong: the block API refuses by name, tells nothing of others, and never has a bug. */
import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyRing } from '../../../../src/core/blockstore/sealing/key-ring.ts';
import { idOfSession } from '../../../../src/core/blockstore/uploads/index.ts';
import { seededRandom, type VolumeId } from '../../../../src/core/kit/index.ts';
import { BLOCK_API } from '../../../../src/core/protocol/blockapi/index.ts';
import { SnapshotUploads } from '../../../../src/core/service/blocks/snapshot-uploads.ts';
import { answerOf, BLOCK, BlockRig, blockOf, codeOf, digest, type BlockUser } from './block-rig.ts';

let rig: BlockRig;
let anna: BlockUser;
let mallory: BlockUser;
beforeEach(async () => {
  rig = await BlockRig.start();
  anna = await rig.user('anna');
  mallory = await rig.user('mallory');
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

const signal = new AbortController().signal;

async function share(snapshotId: string, by: BlockUser, accountId: string): Promise<void> {
  await rig.service.sharing.share(
    { gatewayId: null, accountId: by.accountId },
    { snapshotId, withAccountId: accountId },
    signal,
  );
}

describe("another account's ids", () => {
  it('are as if there were no such thing, for every operation, and for root too', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const { snapshotId } = await anna.snapshot(volumeId);
    const own = await mallory.snapshot((await mallory.create()).volumeId);
    const { accountId } = await rig.service.accounts.find(
      (await rig.documents('service/root.json'))[0]?.['accountId'] as string,
      signal,
    );
    const key = await rig.service.keys.create({ accountId, userName: 'r' }, signal);
    const root = new (anna.constructor as typeof BlockUser)(rig.endpoint, accountId, key);
    const none = { volumeId: 'vol-0123456789abcdef0', snapshotId: 'snap-0123456789abcdef0' };
    const secret = await rig.documents('snapshots/').then((all) => all.map((entry) => String(entry['snapshotId'])));
    const unasked = secret.filter((id) => id !== snapshotId && id !== own.snapshotId);
    expect(unasked).toHaveLength(2);
    for (const who of [mallory, root]) {
      for (const operation of Object.values(BLOCK_API)) {
        if (!/[{]/.test(operation.path)) continue;
        for (const id of [snapshotId, ...unasked]) {
          const at = (ids: { volumeId: string; snapshotId: string }): string =>
            operation.path
              .replace('{volumeId}', ids.volumeId)
              .replace('{snapshotId}', ids.snapshotId)
              .replace('{block}', '1');
          const isPut = operation.request === 'block';
          const ask = {
            ...(isPut ? { body: blockOf(2), headers: { 'content-digest': digest(blockOf(2)) } } : {}),
            ...(operation.method === 'POST' ? { body: {} } : {}),
            ...(operation.path.endsWith('/changes') ? { query: { since: own.snapshotId } } : {}),
          };
          const theirs = await who.ask(operation.method, at({ volumeId, snapshotId: id }), ask);
          const nobodys = await who.ask(operation.method, at(none), ask);
          const told = (text: string): string => text.replaceAll(/(?:vol|snap)-[0-9a-f]{17}/g, 'ID');
          expect(theirs.status, `${operation.method} ${operation.path}`).toBe(404);
          expect(told(theirs.bytes.toString())).toBe(told(nobodys.bytes.toString()));
        }
      }
      const from = await who.ask('POST', '/v1/volumes', { body: { name: 'x', fromSnapshotId: snapshotId } });
      expect(codeOf(from)).toBe('snapshot-not-found');
      expect(
        (await who.ask('GET', '/v1/volumes', { query: { nextToken: 'vol-00000000000000000' } })).bytes.toString(),
      ).not.toContain(volumeId);
      expect((await who.ask('GET', '/v1/snapshots', { query: { volumeId } })).document['snapshots']).toEqual([]);
    }
    const since = await mallory.ask('GET', `/v1/snapshots/${own.snapshotId}/changes`, { query: { since: snapshotId } });
    expect(codeOf(since)).toBe('snapshot-not-found');
    expect((await anna.get(volumeId, 1)).equals(blockOf(1))).toBe(true);
  });
});

describe("another account's blocks", () => {
  it('are read while they are shared, from a volume made of them too, and not once that is taken back', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const { snapshotId } = await anna.snapshot(volumeId);
    await share(snapshotId, anna, mallory.accountId);
    expect((await mallory.get(snapshotId, 1)).equals(blockOf(1))).toBe(true);
    const made = await mallory.create({ name: 'mine', fromSnapshotId: snapshotId });
    expect((await mallory.get(made.volumeId, 1)).equals(blockOf(1))).toBe(true);
    await mallory.put(made.volumeId, 2, blockOf(2));
    const derived = await mallory.snapshot(made.volumeId);
    expect(derived.readable).toBe(false);
    // What is derived is shared by nobody yet, and one foreign block is enough.
    for (const path of [
      `/v1/snapshots/${derived.snapshotId}/blocks/2`,
      `/v1/snapshots/${derived.snapshotId}/blocks`,
      `/v1/volumes/${made.volumeId}/blocks/1`,
      `/v1/volumes/${made.volumeId}/blocks/2`,
      `/v1/volumes/${made.volumeId}/blocks`,
    ])
      expect([path, codeOf(await mallory.ask('GET', path))]).toEqual([path, 'export-denied']);
    expect(
      codeOf(await mallory.ask('POST', '/v1/volumes', { body: { name: 'c', fromSnapshotId: derived.snapshotId } })),
    ).toBe('export-denied');
    await share(derived.snapshotId, anna, mallory.accountId);
    expect((await mallory.get(derived.snapshotId, 1)).equals(blockOf(1))).toBe(true);
    expect((await mallory.get(made.volumeId, 1)).equals(blockOf(1))).toBe(true);
    for (const id of [snapshotId, derived.snapshotId])
      await rig.service.sharing.unshare(
        { gatewayId: null, accountId: anna.accountId },
        { snapshotId: id, withAccountId: mallory.accountId },
        signal,
      );
    for (const path of [`/v1/volumes/${made.volumeId}/blocks/1`, `/v1/snapshots/${derived.snapshotId}/blocks/1`])
      expect([path, codeOf(await mallory.ask('GET', path))]).toEqual([path, 'export-denied']);
    expect(codeOf(await mallory.ask('GET', `/v1/snapshots/${snapshotId}/blocks/1`))).toBe('snapshot-not-found');
  });

  it('leave a record when they are read first, and whenever that is refused', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const { snapshotId } = await anna.snapshot(volumeId);
    for (let i = 0; i < 3; i++) {
      await anna.get(snapshotId, 1);
      await anna.get(volumeId, 1);
      await mallory.ask('GET', `/v1/snapshots/${snapshotId}/blocks/1`);
    }
    await anna.ask('GET', '/v1/snapshots');
    const audit = await rig.documents('service/audit/');
    const of = (account: string, kind: string): Record<string, unknown>[] =>
      audit.filter((record) => record['accountId'] === account && record['kind'] === kind);
    expect(of(anna.accountId, 'read')).toMatchObject([
      { snapshotId, granted: true },
      { volumeId, granted: true },
    ]);
    expect(of(mallory.accountId, 'read').map(({ granted }) => granted)).toEqual([false, false, false]);
    expect(of(anna.accountId, 'list')).toMatchObject([{ listed: [snapshotId], leftOut: [] }]);
  });
});

describe('a store with a key that its customer holds', () => {
  it('is neither written nor read', async () => {
    const { volumeId } = await anna.create();
    const { snapshotId } = await anna.snapshot(volumeId);
    const sealed = anna.at(await rig.server(undefined, Object.create(KeyRing.prototype) as KeyRing));
    for (const answer of [
      await sealed.ask('POST', '/v1/volumes', { body: { name: 'n', sizeBytes: BLOCK } }),
      await sealed.put(volumeId, 1, blockOf(1)),
      await sealed.ask('GET', `/v1/volumes/${volumeId}/blocks/1`),
      await sealed.ask('GET', `/v1/volumes/${volumeId}/blocks`),
      await sealed.ask('GET', `/v1/snapshots/${snapshotId}/blocks`),
      await sealed.ask('GET', `/v1/snapshots/${snapshotId}/blocks/1`),
    ])
      expect([answer.status, codeOf(answer)]).toEqual([501, 'blocks-sealed-store']);
    expect(await anna.written(volumeId)).toEqual([]);
  });
});

describe('what is written to a volume', () => {
  it('is no snapshot to EBS direct, which can neither write to it nor complete it', async () => {
    const { volumeId } = await anna.create();
    await anna.put(volumeId, 1, blockOf(1));
    const { context, exports, quotas } = rig.service;
    const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    const uploads = new SnapshotUploads({ context, exports, quotas, log });
    const session = idOfSession(volumeId as VolumeId, 0);
    const asker = { gatewayId: null, accountId: anna.accountId };
    const refused = { code: 'snapshot-not-found' };
    await expect(uploads.find(asker, session, signal)).rejects.toMatchObject(refused);
    const claim = { blocks: 1, checksum: null };
    await expect(uploads.complete(asker, session, claim, signal)).rejects.toMatchObject(refused);
    await expect(exports.open(asker, { snapshotId: session, purpose: 'read' }, signal)).rejects.toMatchObject(refused);
    const share = { snapshotId: session, withAccountId: mallory.accountId };
    await expect(rig.service.sharing.share(asker, share, signal)).rejects.toMatchObject(refused);
    expect(await anna.written(volumeId)).toEqual([1]);
  });
});

describe('a request that is wrong', () => {
  it('is refused before anything is stored', async () => {
    const { volumeId } = await anna.create();
    const good = blockOf(1);
    const cases: [Awaited<ReturnType<BlockUser['put']>>, number, string][] = [
      [await anna.put(volumeId, 64, good), 400, 'block-out-of-range'],
      [await anna.put(volumeId, '-1', good), 400, 'block-out-of-range'],
      [await anna.put(volumeId, 'x', good), 400, 'block-out-of-range'],
      [await anna.put(volumeId, 1, good.subarray(1)), 400, 'bad-parameter'],
      [await anna.put(volumeId, 1, good, { 'content-digest': digest(blockOf(2)) }), 400, 'block-checksum-wrong'],
      [await anna.put(volumeId, 1, good, { 'content-digest': 'sha-256=:AAAA:' }), 400, 'bad-parameter'],
      [await anna.put(volumeId, 1, Buffer.concat([good, good])), 400, 'bad-parameter'],
      [await anna.ask('POST', '/v1/volumes', { body: { name: 'a' } }), 400, 'bad-volume-size'],
      [await anna.ask('POST', '/v1/volumes', { body: { name: 'a', sizeBytes: 1000 } }), 400, 'bad-parameter'],
      [await anna.ask('POST', '/v1/volumes', { body: { name: 'a', sizeBytes: 2 ** 52 } }), 400, 'bad-volume-size'],
      [await anna.ask('POST', '/v1/volumes', { body: { name: '../a', sizeBytes: BLOCK } }), 400, 'bad-name'],
      [await anna.ask('POST', '/v1/volumes', { body: Buffer.from('{') }), 400, 'bad-parameter'],
      [await anna.ask('GET', '/v1/volumes', { query: { nextToken: '../../root' } }), 400, 'page-token-wrong'],
      [await anna.ask('GET', '/v1/volumes', { query: { maxResults: '0' } }), 400, 'bad-parameter'],
      [await anna.ask('GET', '/v1/volumes', { query: { other: '1' } }), 400, 'bad-parameter'],
      [await anna.ask('GET', '/v1/volumes', { signingName: 'ebs' }), 403, 'signature-wrong'],
    ];
    for (const [answer, status, code] of cases) expect([answer.status, codeOf(answer)]).toEqual([status, code]);
    expect(await anna.written(volumeId)).toEqual([]);
    const unsigned = await answerOf(await fetch(`${rig.endpoint}/v1/volumes`));
    expect([unsigned.status, codeOf(unsigned)]).toEqual([403, 'signature-missing']);
  });

  it('forges no page: those of listings of snapshots are for one listing of one account', async () => {
    const { volumeId } = await anna.create();
    for (let block = 0; block < 4; block++) await anna.put(volumeId, block, blockOf(block));
    const one = await anna.snapshot(volumeId);
    const two = await anna.snapshot(volumeId);
    const page = await anna.ask('GET', `/v1/snapshots/${one.snapshotId}/blocks`, { query: { maxResults: '1' } });
    const nextToken = String(page.document['nextToken']);
    for (const path of [`/v1/snapshots/${two.snapshotId}/blocks`])
      expect(codeOf(await anna.ask('GET', path, { query: { nextToken } }))).toBe('page-token-wrong');
    const changed = { nextToken, since: two.snapshotId };
    expect(codeOf(await anna.ask('GET', `/v1/snapshots/${one.snapshotId}/changes`, { query: changed }))).toBe(
      'page-token-wrong',
    );
    const forged = `${nextToken.startsWith('A') ? 'B' : 'A'}${nextToken.slice(1)}`;
    expect(
      codeOf(await anna.ask('GET', `/v1/snapshots/${one.snapshotId}/blocks`, { query: { nextToken: forged } })),
    ).toBe('page-token-wrong');
  });

  it('is never answered with a bug, whatever it is, signed or not', async () => {
    const seed = Number(process.env['SGW_SEED'] ?? Date.now() % 1_000_000);
    const random = seededRandom(seed);
    const { volumeId } = await anna.create();
    const { snapshotId } = await anna.snapshot(volumeId);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random.float() * of.length)] as T;
    const odd = [
      '',
      '0',
      '-1',
      '1e9',
      '99999999999',
      '%00',
      '%2e%2e%2f',
      '..',
      'vol-',
      'null',
      '[]',
      '\u00e9',
      'a'.repeat(3000),
      '__proto__',
    ];
    const json = (): unknown =>
      pick<() => unknown>([
        () => pick(odd),
        () => random.float() * 2 ** 60,
        () => null,
        () => [json(), json()],
        () => ({ [pick(['name', 'sizeBytes', 'tags', 'clientToken', 'fromSnapshotId', '__proto__', 'x'])]: json() }),
        () => JSON.parse('{"__proto__": {"name": "x"}}') as unknown,
      ])();
    for (let i = 0; i < 400; i++) {
      const operation = pick(Object.values(BLOCK_API));
      const path = operation.path
        .replace('{volumeId}', encodeURIComponent(pick([volumeId, volumeId, ...odd])))
        .replace('{snapshotId}', encodeURIComponent(pick([snapshotId, snapshotId, ...odd])))
        .replace('{block}', encodeURIComponent(pick(['1', '1', ...odd])));
      const query =
        random.float() < 0.5
          ? {}
          : { [pick(['maxResults', 'startBlock', 'nextToken', 'since', 'volumeId', 'x'])]: pick([snapshotId, ...odd]) };
      const body = pick<Buffer | object | undefined>([
        undefined,
        blockOf(1),
        random.bytes(100),
        { a: json() },
        Buffer.from(JSON.stringify(json())),
      ]);
      const method = pick([operation.method, operation.method, 'GET', 'PUT', 'POST', 'DELETE']);
      const hasBody = method !== 'GET' && body !== undefined;
      const headers =
        random.float() < 0.5
          ? {}
          : { 'content-digest': pick([digest(blockOf(1)), ...odd.filter((text) => /^[!-~]*$/.test(text))]) };
      const answer = await anna.ask(method, path, { query, headers, ...(hasBody ? { body } : {}) });
      expect(
        answer.status,
        `seed ${String(seed)}: ${method} ${path} ${answer.bytes.toString().slice(0, 300)}`,
      ).toBeLessThan(500);
    }
    expect(rig.logged).toEqual([]);
    // What is no HTTP any more, as far as node lets it through.
    for (const path of ['/v1/volumes/%zz', '/v1/volumes/%ff/blocks', '/v1/volumes?%zz=1', '/v1//volumes']) {
      const status = await new Promise<number>((resolve, reject) => {
        httpRequest(rig.endpoint, { path }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        })
          .on('error', reject)
          .end();
      });
      expect(status).toBeLessThan(500);
    }
  }, 120_000);
});
