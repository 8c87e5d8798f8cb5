/** Groups as the service keeps them: members, volumes, who may see and change them; deaths and races in between. */
import { beforeEach, describe, expect, it } from 'vitest';
import { toSgwError, type VolumeId } from '../../../../src/core/kit/index.ts';
import type { GroupDocument } from '../../../../src/core/protocol/index.ts';
import { openService } from '../../../../src/core/service/index.ts';
import { ANNA, BERT, SERVICE_ID, type Device } from '../rig.ts';
import { GroupRig, idOf } from './rig.ts';

let rig: GroupRig;
let one: Device;
let two: Device;
let bert: Device;
beforeEach(async () => {
  rig = new GroupRig();
  await rig.accounts();
  one = await rig.named('one');
  two = await rig.named('two');
  bert = await rig.named('foreign', BERT);
});

const anna = { accountId: ANNA };
const create = async (name = 'rack', clientToken: string | null = null) =>
  rig.ask(one, 'group.create', { ...anna, name, clientToken });
const add = async (group: string, gateway: string) => rig.ask(one, 'group.add', { ...anna, group, gateway });
const assign = async (group: string, volumeId: VolumeId, wish = {}) =>
  rig.ask(one, 'group.assign', { ...anna, group, volumeId, wish });
const find = async (group = 'rack'): Promise<GroupDocument> => rig.ask(one, 'group.find', { ...anna, group });

describe('a group', () => {
  it('is made once for its name and account, and once for a client token', async () => {
    const { group, created } = await create('rack', 'token-1');
    expect(created).toBe(true);
    expect(group).toMatchObject({ name: 'rack', accountId: ANNA, version: 1, members: [], volumes: [] });
    expect(group.groupId).toMatch(/^grp-[0-9a-f]{16}$/);
    expect(await create('rack', 'token-1')).toEqual({ group, created: false });
    await expect(create('rack')).rejects.toMatchObject({ kind: 'conflict', code: 'group-exists' });
    await expect(create('other', 'token-1')).rejects.toMatchObject({ code: 'client-token-reused' });
    const { group: berts } = await rig.ask(bert, 'group.create', { accountId: BERT, name: 'rack', clientToken: null });
    expect(berts.groupId).not.toBe(group.groupId);
  });

  it('has no name that looks like the id of one, or that is none', async () => {
    for (const name of ['grp-0123456789abcdef', '', 'a b'])
      await expect(create(name), name).rejects.toMatchObject({ kind: 'invalid', code: 'bad-name' });
  });

  it('grows its version with every change, and with nothing else', async () => {
    const { group } = await create();
    const first = await add('rack', 'one');
    expect(first).toMatchObject({ changed: true, group: { version: 2 } });
    expect(await add(group.groupId, idOf(one))).toEqual({ changed: false, group: first.group });
    const [member] = first.group.members;
    expect(member).toEqual({
      ...{ gatewayId: idOf(one), name: 'one', address: null },
      keyFingerprint: one.credential?.keyFingerprint,
    });
  });

  it("does not exist for another account, nor do that account's gateways and volumes for it", async () => {
    const { group } = await create();
    for (const ref of ['rack', group.groupId])
      await expect(rig.ask(bert, 'group.find', { accountId: BERT, group: ref })).rejects.toMatchObject({
        kind: 'notFound',
        code: 'group-not-found',
      });
    expect(await rig.ask(bert, 'group.list', { accountId: BERT })).toEqual({ groups: [] });
    await expect(rig.ask(bert, 'group.find', { ...anna, group: 'rack' })).rejects.toMatchObject({ kind: 'denied' });
    for (const ref of ['foreign', idOf(bert)])
      await expect(add('rack', ref)).rejects.toMatchObject({ kind: 'notFound', code: 'gateway-not-found' });
    await expect(assign('rack', await rig.volume('theirs', BERT))).rejects.toMatchObject({
      ...{ kind: 'notFound', code: 'volume-not-found' },
    });
    expect(await find()).toEqual(group);
  });

  it('is deleted when it looks after nothing, and its members are free then', async () => {
    const { group } = await create();
    await add('rack', 'one');
    const volumeId = await rig.volume('db');
    await assign('rack', volumeId);
    const remove = async () => rig.ask(one, 'group.delete', { ...anna, group: 'rack' });
    await expect(remove()).rejects.toMatchObject({ kind: 'conflict', code: 'group-in-use' });
    await rig.ask(one, 'group.unassign', { ...anna, group: 'rack', volumeId });
    expect((await remove()).group.groupId).toBe(group.groupId);
    await expect(find()).rejects.toMatchObject({ code: 'group-not-found' });
    expect(await rig.ask(one, 'group.mine', {})).toEqual({ group: null });
    const again = await create();
    expect(again.group.groupId).not.toBe(group.groupId);
    expect((await add('rack', 'one')).changed).toBe(true);
  });
});

describe('a member', () => {
  it('is in one group only', async () => {
    await create('rack');
    await create('shed');
    await add('rack', 'one');
    await expect(add('shed', 'one')).rejects.toMatchObject({
      ...{ kind: 'conflict', code: 'gateway-in-group', details: { name: 'rack' } },
    });
    await rig.ask(one, 'group.remove', { ...anna, group: 'rack', gateway: 'one' });
    expect((await add('shed', 'one')).group.members).toHaveLength(1);
    expect((await rig.ask(one, 'group.mine', {})).group?.name).toBe('shed');
  });

  it('writes where it is reached, and only where it is', async () => {
    await create();
    await add('rack', 'two');
    const address = { peer: '192.0.2.7:7070', nbd: ['192.0.2.7:10809', 'unix:/run/sgw/nbd.sock'] };
    expect(await rig.ask(one, 'group.announce', { address })).toEqual({ group: null });
    const { group } = await rig.ask(two, 'group.announce', { address });
    expect(group?.members[0]?.address).toEqual(address);
    const { group: same } = await rig.ask(two, 'group.announce', { address });
    expect(same?.version).toBe(group?.version);
    const { group: gone } = await rig.ask(two, 'group.announce', { address: null });
    expect(gone?.members[0]?.address).toBeNull();
    for (const peer of ['', 'nowhere', '192.0.2.7:0', '192.0.2.7:70707', 'a b:1'])
      await expect(rig.ask(two, 'group.announce', { address: { peer, nbd: [] } }), peer).rejects.toMatchObject({
        ...{ kind: 'invalid', code: 'bad-group' },
      });
    await expect(
      rig.ask(two, 'group.announce', { address: { peer: '192.0.2.7:1', nbd: ['unix:relative'] } }),
    ).rejects.toMatchObject({ code: 'bad-group' });
  });

  it('is not taken out while it holds a volume of the group', async () => {
    await create();
    await add('rack', 'one');
    const volumeId = await rig.volume('db');
    await assign('rack', volumeId, { preferredHolder: 'one' });
    await rig.heldBy(volumeId, one, [idOf(one)]);
    const remove = async () => rig.ask(two, 'group.remove', { ...anna, group: 'rack', gateway: 'one' });
    await expect(remove()).rejects.toMatchObject({ kind: 'conflict', code: 'member-holds-volumes' });
    await rig.setHead(volumeId, { holder: null });
    const { group } = await remove();
    expect(group.members).toEqual([]);
    expect(group.volumes[0]?.preferredHolder).toBeNull();
    await expect(remove()).rejects.toMatchObject({ code: 'not-a-member' });
  });

  it('does not leave the service before its group; one that is taken away by the operator is in no group any more', async () => {
    await create();
    await add('rack', 'one');
    await add('rack', 'two');
    await expect(rig.ask(two, 'gateway.deregister', {})).rejects.toMatchObject({ code: 'gateway-in-group' });
    await rig.operator('gateway.remove', { gatewayId: idOf(two) });
    expect((await find()).members.map(({ name }) => name)).toEqual(['one']);
    await rig.ask(one, 'group.remove', { ...anna, group: 'rack', gateway: 'one' });
    await rig.ask(one, 'gateway.deregister', {});
    await expect(rig.ask(one, 'group.mine', {})).rejects.toMatchObject({ code: 'gateway-deregistered' });
  });

  it('is found by its name while only one has that', async () => {
    await create();
    const twin = await rig.named('two');
    await expect(add('rack', 'two')).rejects.toMatchObject({ kind: 'conflict', code: 'ambiguous-name' });
    expect((await add('rack', idOf(twin))).group.members[0]?.gatewayId).toBe(idOf(twin));
  });
});

describe('a volume', () => {
  it('is looked after as it is wanted: what is not given stays', async () => {
    await create();
    await add('rack', 'one');
    const volumeId = await rig.volume('db');
    const { group } = await assign('rack', volumeId);
    expect(group.volumes).toEqual([
      {
        ...{ volumeId, exportName: 'db', replicas: 1, preferredHolder: null },
        ...{ whenDegraded: 'continue', ack: 'peer', allowLoss: false },
      },
    ]);
    const wish = { replicas: 2, whenDegraded: 'stop' as const, preferredHolder: 'one', exportName: 'database' };
    expect((await assign('rack', volumeId, wish)).group.volumes[0]).toMatchObject({
      ...wish,
      preferredHolder: idOf(one),
    });
    const loose = await assign('rack', volumeId, { allowLoss: true, preferredHolder: null });
    expect(loose.group.volumes[0]).toMatchObject({ replicas: 2, allowLoss: true, preferredHolder: null });
    expect(await assign('rack', volumeId, { replicas: 2 })).toEqual({ group: loose.group, changed: false });
    expect(await rig.ask(two, 'group.of-volume', { ...anna, volumeId })).toEqual({ group: loose.group });
    expect(await rig.ask(bert, 'group.of-volume', { accountId: BERT, volumeId })).toEqual({ group: null });
  });

  it('has another name for its clients only while nobody holds it', async () => {
    await create();
    await add('rack', 'one');
    const volumeId = await rig.volume('db');
    await assign('rack', volumeId);
    await rig.heldBy(volumeId, one, [idOf(one)]);
    await expect(assign('rack', volumeId, { exportName: 'disk1' })).rejects.toMatchObject({ code: 'export-held' });
    expect(await assign('rack', volumeId, { exportName: 'db' })).toMatchObject({ changed: false });
  });

  it('is in one group only, under an export that no other has, held by a member', async () => {
    await create('rack');
    await create('shed');
    const [db, web] = [await rig.volume('db'), await rig.volume('web')];
    await assign('rack', db);
    await expect(assign('shed', db)).rejects.toMatchObject({ kind: 'conflict', code: 'volume-in-group' });
    await expect(assign('rack', web, { exportName: 'db' })).rejects.toMatchObject({ code: 'export-exists' });
    await expect(assign('rack', web, { preferredHolder: 'two' })).rejects.toMatchObject({ code: 'not-a-member' });
    // What was refused left nothing behind.
    expect((await assign('shed', web)).changed).toBe(true);
    await rig.ask(one, 'group.unassign', { ...anna, group: 'rack', volumeId: db });
    expect((await assign('shed', db)).group.volumes).toHaveLength(2);
  });

  it('is refused what can not be', async () => {
    await create();
    const volumeId = await rig.volume('db');
    for (const wish of [
      { replicas: 0 },
      { replicas: 16 },
      { replicas: 1.5 },
      { whenDegraded: 'panic' },
      { allowLoss: 1 },
    ])
      await expect(assign('rack', volumeId, wish), JSON.stringify(wish)).rejects.toMatchObject({ code: 'bad-group' });
    await expect(assign('rack', volumeId, { exportName: '' })).rejects.toMatchObject({ code: 'bad-name' });
    await expect(assign('rack', 'vol-00000000000000bad')).rejects.toMatchObject({ code: 'volume-not-found' });
    expect(await rig.ask(one, 'group.of-volume', { ...anna, volumeId })).toEqual({ group: null });
  });
});

/** What changes something, with what must be so once it was done, if it takes a few tries. */
const CHANGES: readonly (readonly [string, (volumeId: VolumeId) => Promise<unknown>])[] = [
  ['create', async () => create('shed', 'token')],
  ['add', async () => add('rack', 'two')],
  ['remove', async () => rig.ask(one, 'group.remove', { ...anna, group: 'rack', gateway: 'one' }).catch(unlessGone)],
  ['assign', async (volumeId) => assign('rack', volumeId)],
  ['unassign', async (volumeId) => rig.ask(one, 'group.unassign', { ...anna, group: 'rack', volumeId })],
];
const unlessGone = (error: unknown): void => {
  const failure = toSgwError(error);
  if (failure.code !== 'not-a-member') throw failure;
};

describe('a death in between', () => {
  it.each(CHANGES)(
    '%s: asked again it is done, and nothing that it had begun is in the way of others',
    async (name, change) => {
      let deaths = 0;
      for (let at = 1; at < 20; at++) {
        rig = new GroupRig({ seed: at });
        await rig.accounts();
        [one, two] = [await rig.named('one'), await rig.named('two')];
        await create('rack', 'first');
        await add('rack', 'one');
        const volumeId = await rig.volume('db');
        if (name === 'unassign') await assign('rack', volumeId);
        const mend = dieAtPut(at);
        const died = await change(volumeId).then(
          () => false,
          () => true,
        );
        mend();
        if (!died) break;
        deaths += 1;
        await change(volumeId);
        const { members, volumes } = await find();
        expect(members.map((member) => member.name)).toEqual(
          name === 'add' ? ['one', 'two'] : name === 'remove' ? [] : ['one'],
        );
        expect(volumes).toHaveLength(name === 'assign' ? 1 : 0);
        if (name === 'create') expect((await find('shed')).name).toBe('shed');
        await create('third', 'third');
        if (name === 'remove') expect((await add('third', 'one')).changed).toBe(true);
        if (name === 'unassign') expect((await assign('third', volumeId)).changed).toBe(true);
      }
      expect(deaths).toBeGreaterThanOrEqual(name === 'remove' || name === 'unassign' ? 1 : 2);
    },
  );
});

/** From the `count`th write on nothing is written, until the returned function is called. */
function dieAtPut(count: number): () => void {
  const { put } = rig.objects;
  let seen = 0;
  rig.objects.put = async (...args) =>
    ++seen >= count ? Promise.reject(new Error('died')) : await put.call(rig.objects, ...args);
  return () => {
    rig.objects.put = put;
  };
}

describe('at once', () => {
  it('two groups do not both get a gateway, nor a volume, nor two their name, whatever comes first', async () => {
    for (let seed = 1; seed <= 150; seed++) {
      rig = new GroupRig({ seed });
      await rig.accounts();
      one = await rig.named('one');
      const volumeId = await rig.volume('db');
      jitter(rig);
      // Each asks a server of its own.
      const servers = [0, 1].map(() => openService({ blocks: rig.blocks, serviceId: SERVICE_ID, isEmbedded: false }));
      const ask = async (at: number, ...[name, body]: Parameters<Device['sign']>) =>
        servers[at]?.gateway.request(name, one.sign(name, body), rig);
      const both = async (...[name, bodyOf]: [Parameters<Device['sign']>[0], (at: number) => object]) =>
        Promise.allSettled([0, 1].map(async (at) => ask(at, name, bodyOf(at) as never)));
      const wins = (outcomes: PromiseSettledResult<unknown>[]): number =>
        outcomes.filter(({ status }) => status === 'fulfilled').length;

      expect(
        wins(await both('group.create', () => ({ ...anna, name: 'rack', clientToken: null }))),
        'names',
      ).toBeLessThan(2);
      for (const group of ['a', 'b']) await create(group, group);
      const added = await both('group.add', (at) => ({ ...anna, group: 'ab'[at], gateway: 'one' }));
      const assigned = await both('group.assign', (at) => ({ ...anna, group: 'ab'[at], volumeId, wish: {} }));
      const groups = [await find('a'), await find('b')];
      const { group: mine } = await rig.ask(one, 'group.mine', {});
      const { group: ofVolume } = await rig.ask(one, 'group.of-volume', { ...anna, volumeId });
      expect([wins(added), wins(assigned)], `seed ${String(seed)}`).toEqual([1, 1]);
      expect(groups.filter(({ members }) => members.length > 0).map(({ name }) => name)).toEqual([mine?.name]);
      expect(groups.filter(({ volumes }) => volumes.length > 0).map(({ name }) => name)).toEqual([ofVolume?.name]);
    }
  });
});

/** Every call of the store takes a few turns of the event loop, how many by the rig's seed. */
function jitter({ objects, random }: GroupRig): void {
  for (const name of ['get', 'put'] as const) {
    const call = objects[name].bind(objects) as (...args: unknown[]) => Promise<never>;
    objects[name] = async (...args: unknown[]) => {
      for (let turns = Math.floor(random.float() * 6); turns > 0; turns--) await new Promise(setImmediate);
      return await call(...args);
    };
  }
}
