/** Text requests of the full feature phase: SendTargets, keys that may be declared again, answers over several responses. */
import { describe, expect, it } from 'vitest';
import { TextExchange, type Portal, type TextStep } from '../../../src/core/iscsi/discovery.ts';
import { keysOf, text, textHeader } from './login-builder.ts';
import { INITIATOR, MemoryTargets, TARGET } from './login-scene.ts';

const FINAL = 0x80;
const CONTINUED = 0x40;
const NO_TAG = 0xffff_ffff;
const PORTALS: readonly Portal[] = [
  { address: '192.0.2.1:3260', groupTag: 1 },
  { address: '[2001:db8::1]:3260', groupTag: 1 },
];
const ADDRESSES = ['TargetAddress=192.0.2.1:3260,1', 'TargetAddress=[2001:db8::1]:3260,1'];

interface Scene {
  readonly targets: MemoryTargets;
  readonly send: (fields: Parameters<typeof textHeader>[0], pairs: readonly string[] | Buffer) => Promise<TextStep>;
}

function begin({ target, maxSendLength = 8192 }: { target?: string; maxSendLength?: number } = {}): Scene {
  const targets = new MemoryTargets();
  const exchange = new TextExchange({
    directory: targets,
    initiator: INITIATOR,
    target,
    portals: () => PORTALS,
    maxSendLength: () => maxSendLength,
  });
  return {
    targets,
    send: (fields, pairs) => exchange.handle(textHeader(fields), Buffer.isBuffer(pairs) ? pairs : text(...pairs)),
  };
}

type Answer = Extract<TextStep, { kind: 'response' }>;

async function ask(step: Promise<TextStep>): Promise<Answer> {
  const answer = await step;
  if (answer.kind !== 'response') throw new Error(`rejected: ${answer.message}`);
  return answer;
}

/** The keys of an answer in one response. */
async function keys(step: Promise<TextStep>): Promise<readonly string[]> {
  const { flags, targetTransferTag, data } = await ask(step);
  expect([flags, targetTransferTag]).toEqual([FINAL, NO_TAG]);
  return keysOf(data);
}

describe('SendTargets in a discovery session', () => {
  it('All tells of every target, with all portals and their group', async () => {
    const { targets, send } = begin();
    targets.names = [TARGET, 'iqn.2026-11.example:vol2'];
    expect(await keys(send({}, ['SendTargets=All']))).toEqual([
      `TargetName=${TARGET}`,
      ...ADDRESSES,
      'TargetName=iqn.2026-11.example:vol2',
      ...ADDRESSES,
    ]);
  });

  it('a name tells of that target, in whatever case it is asked for', async () => {
    const { targets, send } = begin();
    targets.names = ['iqn.2026-11.example:vol2', TARGET];
    expect(await keys(send({}, [`SendTargets=${TARGET.toUpperCase()}`]))).toEqual([
      `TargetName=${TARGET}`,
      ...ADDRESSES,
    ]);
    expect(await keys(send({}, ['SendTargets=iqn.2026-11.example:none']))).toEqual([]);
  });

  it('nothing is rejected, since the session has no target', async () => {
    expect(await keys(begin().send({}, ['SendTargets=']))).toEqual(['SendTargets=Reject']);
  });

  it('no targets are an empty answer', async () => {
    const { targets, send } = begin();
    targets.names = [];
    expect(await keys(send({}, ['SendTargets=All']))).toEqual([]);
  });

  it('more than a data segment is continued under a tag, until the last piece is final', async () => {
    const { targets, send } = begin({ maxSendLength: 512 });
    targets.names = Array.from({ length: 20 }, (_, i) => `iqn.2026-11.example:vol${i}`);
    const pieces: Buffer[] = [];
    let answer = await ask(send({}, ['SendTargets=All']));
    while (answer.flags !== FINAL) {
      expect(answer.flags).toBe(CONTINUED);
      expect(answer.data).toHaveLength(512);
      expect(answer.targetTransferTag).not.toBe(NO_TAG);
      pieces.push(answer.data);
      answer = await ask(send({ ttt: answer.targetTransferTag }, []));
    }
    expect(answer.targetTransferTag).toBe(NO_TAG);
    pieces.push(answer.data);
    expect(pieces.length).toBeGreaterThan(3);
    expect(keysOf(Buffer.concat(pieces)).filter((key) => key.startsWith('TargetName='))).toEqual(
      targets.names.map((name) => `TargetName=${name}`),
    );
  });

  it('more than 4 MiB are rejected', async () => {
    const { targets, send } = begin();
    const many = Array.from({ length: 60_000 }, (_, i) => `iqn.2026-11.example:vol${i}`);
    targets.names = many;
    expect(await send({}, ['SendTargets=All'])).toMatchObject({ kind: 'reject', reason: 0x0a });
    targets.names = many.slice(0, 1);
    expect(await keys(send({}, ['SendTargets=All']))).toHaveLength(3);
  });

  it('a directory that fails is not answered for', async () => {
    const { targets, send } = begin();
    targets.list = async () => {
      throw new Error('out of reach');
    };
    await expect(send({}, ['SendTargets=All'])).rejects.toThrow('out of reach');
  });
});

describe('SendTargets in a normal session', () => {
  it('tells of its own target and of no other', async () => {
    const { targets, send } = begin({ target: TARGET });
    targets.names = [TARGET, 'iqn.2026-11.example:vol2'];
    const own = [`TargetName=${TARGET}`, ...ADDRESSES];
    expect(await keys(send({}, ['SendTargets=']))).toEqual(own);
    expect(await keys(send({}, [`SendTargets=${TARGET}`]))).toEqual(own);
    expect(await keys(send({}, ['SendTargets=All']))).toEqual(['SendTargets=Reject']);
    expect(await keys(send({}, ['SendTargets=iqn.2026-11.example:vol2']))).toEqual(['SendTargets=Reject']);
  });
});

describe('other keys', () => {
  it('MaxRecvDataSegmentLength may be declared again', async () => {
    const { send } = begin({ target: TARGET });
    const answer = await ask(send({}, ['MaxRecvDataSegmentLength=65536']));
    expect(answer).toMatchObject({ flags: FINAL, maxSendLength: 65536 });
    expect(answer.data).toHaveLength(0);
    expect((await ask(send({}, ['InitiatorAlias=x']))).maxSendLength).toBeUndefined();
    expect(await send({}, ['MaxRecvDataSegmentLength=1'])).toMatchObject({ kind: 'reject', reason: 4 });
  });

  it('what a login agrees on is rejected, and what nobody knows is not understood', async () => {
    const offers = ['MaxBurstLength=512', 'HeaderDigest=None', 'AuthMethod=None', 'TargetName=x', 'X-a=1', 'Y=Reject'];
    expect(await keys(begin({ target: TARGET }).send({}, offers))).toEqual([
      'MaxBurstLength=Reject',
      'HeaderDigest=Reject',
      'AuthMethod=Reject',
      'TargetName=Reject',
      'X-a=NotUnderstood',
    ]);
  });
});

describe('an exchange of texts', () => {
  it('takes a text that is continued', async () => {
    const { send } = begin();
    const first = await ask(send({ flags: CONTINUED }, Buffer.from('SendTarg')));
    expect(first).toMatchObject({ flags: 0 });
    expect(first.data).toHaveLength(0);
    const second = await ask(send({ flags: FINAL, ttt: first.targetTransferTag }, Buffer.from('ets=All\0')));
    expect(keysOf(second.data)).toEqual([`TargetName=${TARGET}`, ...ADDRESSES]);
    expect(second.flags).toBe(FINAL);
  });

  it('is not final while the initiator has more to say', async () => {
    const { send } = begin();
    const first = await ask(send({ flags: 0 }, ['X-a=1']));
    expect(first.flags).toBe(0);
    const second = await ask(send({ flags: FINAL, ttt: first.targetTransferTag }, ['X-b=1']));
    expect(second.flags).toBe(FINAL);
    expect(keysOf(second.data)).toEqual(['X-b=NotUnderstood']);
  });

  it('is begun anew by a request without a tag', async () => {
    const { send } = begin({ maxSendLength: 16 });
    const old = await ask(send({}, ['SendTargets=All']));
    const fresh = await ask(send({}, ['X-a=1']));
    expect(fresh.flags).toBe(CONTINUED);
    expect(await send({ ttt: old.targetTransferTag }, [])).toMatchObject({ kind: 'reject', reason: 9 });
  });

  it.each([
    ['a tag that was never given', { ttt: 1 }, []],
    ['a text that is continued and final', { flags: FINAL | CONTINUED }, ['A=1']],
    ['rubbish', {}, ['rubbish']],
    ['a key twice', {}, ['X-a=1', 'X-a=1']],
  ])('is rejected for %s', async (_, fields, pairs) => {
    expect((await begin().send(fields, pairs)).kind).toBe('reject');
  });

  it('is rejected for another task tag, keys that answer a piece, and a key said before', async () => {
    const { send } = begin({ maxSendLength: 16 });
    const first = await ask(send({ itt: 1 }, ['SendTargets=All']));
    expect(await send({ itt: 2, ttt: first.targetTransferTag }, [])).toMatchObject({ kind: 'reject', reason: 9 });
    const again = await ask(send({ itt: 1 }, ['SendTargets=All']));
    expect(await send({ itt: 1, ttt: again.targetTransferTag }, ['X-a=1'])).toMatchObject({ kind: 'reject' });
    const open = await ask(send({ flags: 0 }, ['X-a=']));
    const rest = await ask(send({ flags: 0, ttt: open.targetTransferTag }, []));
    expect(await send({ ttt: rest.targetTransferTag }, ['X-a='])).toMatchObject({ kind: 'reject', reason: 4 });
  });

  it('is bounded in keys', async () => {
    const { send } = begin();
    let ttt: number | undefined;
    let step: TextStep | undefined;
    let count = 0;
    do {
      step = await send({ flags: 0, ...(ttt === undefined ? {} : { ttt }) }, [`X-${count}=`]);
      count += 1;
      if (step.kind === 'response') ttt = step.targetTransferTag;
    } while (step.kind === 'response' && count < 1000);
    expect(count).toBe(257);
  });
});
