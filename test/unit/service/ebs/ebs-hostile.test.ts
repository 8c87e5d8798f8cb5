/** What the EBS direct API refuses, and how: forged and foreign tokens, other accounts' snapshots, wrong and hostile requests. */
import { createHash } from 'node:crypto';
import { Sha256 } from '@aws-crypto/sha256-js';
import {
  CompleteSnapshotCommand,
  ListChangedBlocksCommand,
  ListSnapshotBlocksCommand,
  PutSnapshotBlockCommand,
  StartSnapshotCommand,
  type EBSServiceException,
} from '@aws-sdk/client-ebs';
import { SignatureV4 } from '@smithy/signature-v4';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../../../../src/core/blockstore/index.ts';
import { seededRandom, type SnapshotId } from '../../../../src/core/kit/index.ts';
import { Sharing } from '../../../../src/core/service/exportcontrol/sharing.ts';
import {
  BLOCK,
  blockOf,
  changedBlocks,
  digests,
  EbsRig,
  getBlock,
  listBlocks,
  putBlock,
  readSnapshot,
  REGION,
  sha256,
  startSnapshot,
  writeSnapshot,
  type User,
} from './ebs-rig.ts';

const SEED = Number(process.env['SGW_SEED'] ?? 20_261);

let rig: EbsRig;
let anna: User;
let bert: User;

beforeEach(async () => {
  rig = await EbsRig.start();
  anna = await rig.user('anna');
  bert = await rig.user('bert');
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

/** What a call is refused with. */
async function refusal(call: Promise<unknown>): Promise<{ name: string; reason: unknown; status: number | undefined }> {
  try {
    await call;
  } catch (error) {
    const { name, $metadata } = error as EBSServiceException;
    return { name, reason: (error as { Reason?: unknown }).Reason, status: $metadata.httpStatusCode };
  }
  return { name: 'none', reason: undefined, status: 200 };
}

const VALIDATION = (reason: string): object => ({ name: 'ValidationException', reason, status: 400 });
const ABSENT = { name: 'ResourceNotFoundException', reason: 'SNAPSHOT_NOT_FOUND', status: 404 };

const list = (user: User, snapshotId: string): Promise<unknown> =>
  user.client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId }));

/** A request of any form, signed as the account. */
async function send(
  user: User,
  method: string,
  path: string,
  {
    headers = {},
    body = Buffer.alloc(0),
    query = {},
  }: { headers?: Record<string, string>; body?: Buffer; query?: Record<string, string> } = {},
): Promise<{ status: number; type: string | null; text: string }> {
  const url = new URL(rig.endpoint);
  const signer = new SignatureV4({ credentials: user.credentials, region: REGION, service: 'ebs', sha256: Sha256 });
  const signed = await signer.sign({
    ...{ method, protocol: url.protocol, hostname: url.hostname, port: Number(url.port), path, query, body },
    headers: { host: url.host, 'x-amz-content-sha256': createHash('sha256').update(body).digest('hex'), ...headers },
  });
  const target = new URL(path, rig.endpoint);
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value);
  const answer = await fetch(target, {
    method,
    headers: signed.headers,
    ...(method === 'GET' ? {} : { body: new Uint8Array(body) }),
  });
  return { status: answer.status, type: answer.headers.get('x-amzn-errortype'), text: await answer.text() };
}

describe('another account', () => {
  it('learns nothing of a snapshot: it is as absent as one that never was, whatever is asked', async () => {
    const snapshotId = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
    const open = await startSnapshot(anna.client);
    const token = (await listBlocks(anna.client, snapshotId)).get(0) ?? '';
    for (const id of [snapshotId, open, 'snap-0123456789abcdef0']) {
      const tried: (() => Promise<unknown>)[] = [
        async () => list(bert, id),
        async () => bert.client.send(new ListChangedBlocksCommand({ SecondSnapshotId: id })),
        async () => {
          await putBlock(bert.client, id, 0, blockOf(1));
        },
        async () => bert.client.send(new CompleteSnapshotCommand({ SnapshotId: id, ChangedBlocksCount: 0 })),
        async () => startSnapshot(bert.client, { ParentSnapshotId: id }),
      ];
      for (const call of tried) expect(await refusal(call())).toEqual(ABSENT);
    }
    expect(await refusal(getBlock(bert.client, snapshotId, 0, token))).toEqual(VALIDATION('INVALID_BLOCK_TOKEN'));
    expect(await refusal(list(await rootUser(), snapshotId))).toEqual(ABSENT);
  });

  it('reads what is shared with it, and not a block more once that is taken back', async () => {
    const snapshotId = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
    const { context, accounts, audit } = rig.service;
    const sharing = new Sharing(context, accounts, audit);
    const asker = { gatewayId: null, accountId: anna.accountId };
    const signal = new AbortController().signal;
    const request = { snapshotId, withAccountId: bert.accountId };
    await sharing.share(asker, request, signal);
    const token = (await listBlocks(bert.client, snapshotId)).get(0) ?? '';
    expect(sha256(await getBlock(bert.client, snapshotId, 0, token))).toBe(sha256(blockOf(1)));
    await sharing.unshare(asker, request, signal);
    expect(await refusal(getBlock(bert.client, snapshotId, 0, token))).toEqual(ABSENT);
  });

  it('can not take its blocks out by a child that it writes: creators stay with blocks', async () => {
    const snapshotId = await writeSnapshot(
      anna.client,
      new Map([
        [0, blockOf(1)],
        [1, blockOf(2)],
      ]),
    );
    const { context, accounts, audit } = rig.service;
    const sharing = new Sharing(context, accounts, audit);
    const asker = { gatewayId: null, accountId: anna.accountId };
    const signal = new AbortController().signal;
    const request = { snapshotId, withAccountId: bert.accountId };
    await sharing.share(asker, request, signal);
    const child = await writeSnapshot(bert.client, new Map([[0, blockOf(3)]]), { ParentSnapshotId: snapshotId });
    // The grant was for the parent.
    const denied = { name: 'AccessDeniedException', reason: 'UNAUTHORIZED_ACCOUNT', status: 403 };
    expect(await refusal(list(bert, child))).toEqual(denied);
    const entry = await new Catalog(rig.blocks).getSnapshot(child as SnapshotId);
    expect(entry.creators).toEqual([anna.accountId, bert.accountId].sort());
  });

  async function rootUser(): Promise<User> {
    return await Promise.resolve({ accountId: '', credentials: rig.root, client: rig.client(rig.root) });
  }
});

describe('a token', () => {
  it('opens only its block of its snapshot, and no listing', async () => {
    const one = await writeSnapshot(
      anna.client,
      new Map([
        [0, blockOf(1)],
        [1, blockOf(2)],
      ]),
    );
    const other = await writeSnapshot(anna.client, new Map([[0, blockOf(9)]]));
    const token = (await listBlocks(anna.client, one)).get(0) ?? '';
    expect(token).toMatch(/^[A-Za-z0-9+/=]{1,256}$/);
    const wrong = VALIDATION('INVALID_BLOCK_TOKEN');
    expect(await refusal(getBlock(anna.client, one, 1, token))).toEqual(wrong);
    expect(await refusal(getBlock(anna.client, other, 0, token))).toEqual(wrong);
    const page = anna.client.send(new ListSnapshotBlocksCommand({ SnapshotId: one, NextToken: token }));
    expect(await refusal(page)).toEqual(VALIDATION('INVALID_PAGE_TOKEN'));
    expect(sha256(await getBlock(anna.client, one, 0, token))).toBe(sha256(blockOf(1)));
  });

  it('that was changed anywhere opens nothing', async () => {
    const snapshotId = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
    const token = (await listBlocks(anna.client, snapshotId)).get(0) ?? '';
    const random = seededRandom(SEED);
    const bytes = Buffer.from(token, 'base64');
    const forged = Array.from({ length: 40 }, () => {
      const copy = Buffer.from(bytes);
      const at = Math.floor(random.float() * copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << Math.floor(random.float() * 8));
      return copy.toString('base64');
    });
    for (const text of [
      ...forged,
      'AAAA',
      token.slice(0, -4),
      `${token}AAAA`,
      `${token.slice(0, -1)}A`,
      '='.repeat(200),
    ]) {
      expect(await refusal(getBlock(anna.client, snapshotId, 0, text)), text).toEqual(
        VALIDATION('INVALID_BLOCK_TOKEN'),
      );
    }
  });

  it('of a page is good for its listing only, and not for another account', async () => {
    const blocks = new Map(Array.from({ length: 101 }, (_, i) => [i * 8, Buffer.alloc(BLOCK, 1)] as const));
    const snapshotId = await writeSnapshot(anna.client, blocks);
    const first = await anna.client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, MaxResults: 100 }));
    const NextToken = first.NextToken ?? '';
    const wrong = VALIDATION('INVALID_PAGE_TOKEN');
    const asChanged = anna.client.send(new ListChangedBlocksCommand({ SecondSnapshotId: snapshotId, NextToken }));
    expect(await refusal(asChanged)).toEqual(wrong);
    const byBert = bert.client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, NextToken }));
    expect(await refusal(byBert)).toEqual(wrong);
    const next = await anna.client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, NextToken }));
    expect(next.Blocks?.map(({ BlockIndex }) => BlockIndex)).toEqual([800]);
  });
});

describe('a decision', () => {
  it('leaves one record where a listing begins, and none for pages and blocks', async () => {
    const blocks = new Map(Array.from({ length: 101 }, (_, i) => [i * 8, Buffer.alloc(BLOCK, 1)] as const));
    const snapshotId = await writeSnapshot(anna.client, blocks);
    const records = async (): Promise<unknown[]> => {
      const found: unknown[] = [];
      for await (const { key } of rig.objects.list('service/audit/'))
        found.push(JSON.parse((await rig.objects.get(key))?.bytes.toString('utf8') ?? ''));
      return found;
    };
    const before = (await records()).length;
    const tokens = await listBlocks(anna.client, snapshotId);
    await getBlock(anna.client, snapshotId, 0, tokens.get(0) ?? '');
    const after = await records();
    expect(after).toHaveLength(before + 1);
    const { accessKeyId } = anna.credentials;
    expect(after).toContainEqual(
      expect.objectContaining({
        kind: 'read',
        snapshotId,
        granted: true,
        accountId: anna.accountId,
        accessKeyId,
        gatewayId: null,
      }),
    );
    await refusal(list(bert, snapshotId));
    expect(await records()).toContainEqual(
      expect.objectContaining({ kind: 'read', snapshotId, granted: false, accountId: bert.accountId }),
    );
  });
});

describe('a request that is wrong', () => {
  it('to start a snapshot is refused with what is wrong', async () => {
    const parent = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]), { VolumeSize: 2 });
    const open = await startSnapshot(anna.client);
    const start = async (wish: Partial<ConstructorParameters<typeof StartSnapshotCommand>[0]>): Promise<object> =>
      await refusal(anna.client.send(new StartSnapshotCommand({ VolumeSize: 1, ...wish })));
    const parameter = VALIDATION('INVALID_PARAMETER_VALUE');
    expect(await start({ VolumeSize: 0 })).toEqual(VALIDATION('INVALID_VOLUME_SIZE'));
    expect(await start({ VolumeSize: 65_537 })).toEqual(VALIDATION('INVALID_VOLUME_SIZE'));
    expect(await start({ ParentSnapshotId: parent })).toEqual(VALIDATION('INVALID_VOLUME_SIZE'));
    expect(await start({ ParentSnapshotId: open })).toEqual(VALIDATION('INVALID_SNAPSHOT_ID'));
    expect(await start({ ParentSnapshotId: 'vol-1' })).toEqual(VALIDATION('INVALID_SNAPSHOT_ID'));
    expect(await start({ VolumeSize: 2, ParentSnapshotId: parent, Encrypted: false })).toEqual(parameter);
    expect(await start({ Encrypted: true })).toEqual(parameter);
    expect(await start({ Timeout: 9 })).toEqual(parameter);
    expect(await start({ Timeout: 4321 })).toEqual(parameter);
    expect(await start({ Description: 'x'.repeat(256) })).toEqual(parameter);
    expect(await start({ ClientToken: 'a b' })).toEqual(parameter);
    expect(await start({ Tags: [{ Key: '', Value: 'x' }] })).toEqual(VALIDATION('INVALID_TAG'));
    expect(await start({ Tags: Array.from({ length: 51 }, (_, i) => ({ Key: String(i), Value: '' })) })).toEqual(
      VALIDATION('INVALID_TAG'),
    );
  });

  it('repeats a snapshot with its client token, and conflicts with other parameters', async () => {
    const wish = { ClientToken: 'once', Description: 'one' };
    const [one, other] = await Promise.all([startSnapshot(anna.client, wish), startSnapshot(anna.client, wish)]);
    expect(other).toBe(one);
    expect(await startSnapshot(bert.client, wish)).not.toBe(one);
    expect(await refusal(startSnapshot(anna.client, { ...wish, Description: 'two' }))).toMatchObject({
      name: 'ConflictException',
      status: 409,
    });
  });

  it('to put a block is refused with what is wrong, and stores nothing', async () => {
    const snapshotId = await startSnapshot(anna.client);
    const put = async (
      change: Partial<ConstructorParameters<typeof PutSnapshotBlockCommand>[0]>,
      bytes = blockOf(1),
    ): Promise<object> => {
      const command = {
        ...{ SnapshotId: snapshotId, BlockIndex: 0, BlockData: bytes, DataLength: BLOCK },
        ...{ Checksum: sha256(bytes), ChecksumAlgorithm: 'SHA256' as const, ...change },
      };
      return await refusal(anna.client.send(new PutSnapshotBlockCommand(command)));
    };
    expect(await put({ BlockIndex: 2048 })).toEqual(VALIDATION('INVALID_BLOCK'));
    expect(await put({ Checksum: sha256(blockOf(2)) })).toEqual(VALIDATION('INVALID_BLOCK'));
    expect(await put({ Checksum: 'abc' })).toEqual(VALIDATION('INVALID_PARAMETER_VALUE'));
    expect(await put({ DataLength: 4096 })).toEqual(VALIDATION('INVALID_PARAMETER_VALUE'));
    expect(await put({}, Buffer.alloc(4096))).toEqual(VALIDATION('INVALID_PARAMETER_VALUE'));
    expect(await put({}, Buffer.alloc(BLOCK + 1))).toMatchObject({ name: 'ValidationException' });
    expect(await put({ Progress: 101 })).toEqual(VALIDATION('INVALID_PARAMETER_VALUE'));
    for await (const { key } of rig.objects.list('uploads/')) throw new Error(`${key} is stored`);
  });

  it('to complete is refused while the count is wrong, and fails for good when the checksum is', async () => {
    const snapshotId = await startSnapshot(anna.client);
    await putBlock(anna.client, snapshotId, 1, blockOf(1));
    const complete = (ChangedBlocksCount: number, more: object = {}): Promise<unknown> =>
      anna.client.send(new CompleteSnapshotCommand({ SnapshotId: snapshotId, ChangedBlocksCount, ...more }));
    expect(await refusal(complete(2))).toEqual(VALIDATION('INVALID_PARAMETER_VALUE'));
    await putBlock(anna.client, snapshotId, 2, blockOf(2));
    const checksum = { Checksum: sha256(blockOf(9)), ChecksumAlgorithm: 'SHA256', ChecksumAggregationMethod: 'LINEAR' };
    expect(await complete(2, checksum)).toMatchObject({ Status: 'error' });
    expect(await complete(2, checksum)).toMatchObject({ Status: 'error' });
    expect(await refusal(putBlock(anna.client, snapshotId, 3, blockOf(3)))).toEqual(VALIDATION('INVALID_SNAPSHOT_ID'));
    expect(await refusal(list(anna, snapshotId))).toEqual(VALIDATION('INVALID_SNAPSHOT_ID'));
  });

  it('to compare snapshots that have nothing in common is refused', async () => {
    const one = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
    const other = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
    expect(await refusal(changedBlocks(anna.client, one, other))).toEqual(VALIDATION('UNRELATED_SNAPSHOTS'));
  });

  it('for a page is refused beyond the limits of the model', async () => {
    const snapshotId = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
    for (const MaxResults of [99, 10_001]) {
      const call = anna.client.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId, MaxResults }));
      expect(await refusal(call)).toEqual(VALIDATION('INVALID_PARAMETER_VALUE'));
    }
  });

  it('without a signature, or with a wrong one, is refused before anything is said of a snapshot', async () => {
    const snapshotId = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
    const plain = await fetch(`${rig.endpoint}/snapshots/${snapshotId}/blocks`);
    expect([plain.status, plain.headers.get('x-amzn-errortype')]).toEqual([403, 'MissingAuthenticationTokenException']);
    const mallory = rig.client({ ...anna.credentials, secretAccessKey: 'x'.repeat(40) });
    const call = mallory.send(new ListSnapshotBlocksCommand({ SnapshotId: snapshotId }));
    expect(await refusal(call)).toMatchObject({ name: 'InvalidSignatureException', status: 403 });
    const bytes = blockOf(1);
    const open = await startSnapshot(anna.client);
    const put = await fetch(`${rig.endpoint}/snapshots/${open}/blocks/0`, {
      method: 'PUT',
      body: new Uint8Array(bytes),
    });
    expect(put.status).toBe(403);
  });
});

describe('any request', () => {
  it(
    `however it is made up, gets an answer of the model and no bug (SGW_SEED=${String(SEED)})`,
    { timeout: 60_000 },
    async () => {
      const random = seededRandom(SEED);
      const snapshotId = await writeSnapshot(anna.client, new Map([[0, blockOf(1)]]));
      const open = await startSnapshot(anna.client);
      const token = (await listBlocks(anna.client, snapshotId)).get(0) ?? '';
      const pick = <T>(items: readonly T[]): T => items[Math.floor(random.float() * items.length)] as T;
      const noise = (): string =>
        random
          .bytes(1 + Math.floor(random.float() * 40))
          .toString(pick(['hex', 'base64url', 'latin1'] as const))
          .replaceAll(/[^!-~]/g, 'x');
      const ids = [
        snapshotId,
        open,
        'snap-0',
        'snap-0123456789abcdef0',
        'snap-',
        '..',
        '%00',
        'completion',
        `snap-${'a'.repeat(80)}`,
      ];
      const blocks = ['0', '1', '2047', '2048', '-1', '1e3', '9999999999', '0x1', '', 'blocks', '%2e%2e'];
      const methods = ['GET', 'PUT', 'POST'] as const;
      for (let i = 0; i < 250; i++) {
        const id = random.float() < 0.2 ? encodeURIComponent(noise()) : pick(ids);
        const block = random.float() < 0.2 ? encodeURIComponent(noise()) : pick(blocks);
        const path = pick([
          `/snapshots/${id}/blocks/${block}`,
          `/snapshots/${id}/blocks`,
          `/snapshots/${id}/changedblocks`,
          '/snapshots',
          `/snapshots/completion/${id}`,
        ]);
        const query: Record<string, string> = {};
        for (const name of ['blockToken', 'pageToken', 'maxResults', 'startingBlockIndex', 'firstSnapshotId'])
          if (random.float() < 0.4)
            query[name] = pick([noise(), token, '0', '100', '-5', '99999999999999999999', snapshotId, '']);
        const headers: Record<string, string> = {};
        for (const name of [
          'x-amz-data-length',
          'x-amz-checksum',
          'x-amz-checksum-algorithm',
          'x-amz-changedblockscount',
          'x-amz-progress',
          'content-type',
          'content-encoding',
        ])
          if (random.float() < 0.5)
            headers[name] = pick([
              noise(),
              '524288',
              'SHA256',
              sha256(Buffer.alloc(0)),
              '0',
              '1',
              '-1',
              'LINEAR',
              'gzip',
            ]);
        const body = pick([
          Buffer.alloc(0),
          Buffer.from('{'),
          Buffer.from('[]'),
          Buffer.from('{"VolumeSize":1e99}'),
          Buffer.from('null'),
          random.bytes(3000),
        ]);
        let answer: Awaited<ReturnType<typeof send>>;
        try {
          answer = await send(anna, pick(methods), path, { query, headers, body });
        } catch (error) {
          // Our own side makes no such request.
          if (error instanceof TypeError) continue;
          throw error;
        }
        expect(answer.status, `${path} ${JSON.stringify({ query, headers })} ${answer.text}`).toBeLessThan(500);
        // What is no route of this API is answered by the server.
        if (answer.status >= 400 && ![404, 415].includes(answer.status))
          expect(answer.type, answer.text).not.toBeNull();
      }
      expect(digests(await readSnapshot(anna.client, snapshotId))).toEqual(digests(new Map([[0, blockOf(1)]])));
    },
  );
});
