/**
 * A group of three gateways, as users have them, through what can happen to it one after the other: each step begins with all members
 * running and the replicas in sync.
 */
import { readdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AckClass } from '../../src/core/localapi/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { PAGE } from '../soak/served/stamps.ts';
import type { Connected } from './connected.ts';
import { FollowingClient, GroupRig, type GroupMember } from './group-rig.ts';

const PAGES = 8192;
/** How long a planned take-over may hold clients up: the aim is one second, and the machine has other work. */
const PLANNED_MS = 3000;
const MIB = 1 << 20;
/** More than the kernel keeps for those that do not read. */
const ALONE_BYTES = 24 * MIB;

let group: GroupRig;
let connected: Connected;
let client: FollowingClient;

const told = (what: string, pauseMs: number): void => {
  process.stderr.write(`${what}: nothing was answered for ${pauseMs.toFixed(0)} ms\n`);
};

beforeAll(async () => {
  group = await GroupRig.start(['one', 'two', 'three'], { sizeBytes: PAGES * PAGE, replicas: 2 });
  connected = await group.connect();
  client = await FollowingClient.of(connected.socket, PAGES);
});
afterAll(async () => {
  client[Symbol.dispose]();
  await connected[Symbol.asyncDispose]();
  await group[Symbol.asyncDispose]();
});

const acknowledgedBy = async (member: GroupMember, ack: AckClass): Promise<void> => {
  await group.waitFor(`it acknowledges by ${ack}`, async () => {
    const { attachment } = await member.call('volume.show', { volume: 'disk' });
    return attachment?.ack === ack || undefined;
  });
};

afterEach(() => {
  for (const member of group.members) if (member.isRunning) member.signal('SIGCONT');
});

describe('in order', () => {
  beforeEach(async () => {
    await group.settle(2);
  });

  it('C28: a planned take-over under load is a short pause, and loses nothing', async () => {
    const [next] = await group.others();
    const before = await group.holder();
    const pauseMs = await client.under(async () => {
      const { changed, to } = await (
        await group.holder()
      ).call('group.failover', { volume: 'disk', to: next?.name ?? '' });
      expect([changed, to?.name]).toEqual([true, next?.name]);
    });
    told('a planned take-over', pauseMs);
    expect(pauseMs).toBeLessThan(PLANNED_MS);
    expect((await group.holder()).name).toBe(next?.name);
    await client.checkAll();
    const { checks } = await before.call('doctor', {});
    expect(checks.find(({ name }) => name === 'export disk')).toMatchObject({ state: 'ok' });
  });

  it('so it is when another member is asked', async () => {
    const [next, asked] = await group.others();
    const pauseMs = await client.under(async () => {
      await asked?.call('group.failover', { volume: 'disk', to: next?.name ?? '' });
    });
    told('a planned take-over, asked elsewhere', pauseMs);
    expect(pauseMs).toBeLessThan(PLANNED_MS);
    expect((await group.holder()).name).toBe(next?.name);
    await client.checkAll();
  });

  it('and so it is when the next holder itself is asked', async () => {
    const [next] = await group.others();
    const moved = await next?.call('group.failover', { volume: 'disk', to: next.name });
    expect(moved).toMatchObject({ changed: true, to: { name: next?.name } });
    expect(moved?.durationMs).toBeLessThan(15_000);
    await client.under(async () => delay(100));
  });

  it('a holder that is stopped in order hands the volume over', async () => {
    const holder = await group.holder();
    const pauseMs = await client.under(async () => {
      await holder.rig.ok('gateway', 'stop');
      expect((await group.holder()).name).not.toBe(holder.name);
    });
    told('gateway stop of the holder', pauseMs);
    expect(pauseMs).toBeLessThan(PLANNED_MS);
    await client.checkAll();
  });

  it('C27: a holder that is killed is followed by another member, and has everything again when it is back', async () => {
    const holder = await group.holder();
    const pauseMs = await client.under(async () => {
      await holder.kill();
      expect((await group.holder()).name).not.toBe(holder.name);
    });
    told('the holder killed', pauseMs);
    const { replicaStates } = await group.settle(2);
    expect(replicaStates?.find(({ name }) => name === holder.name)).toMatchObject({ state: 'in-sync', lagBytes: 0 });
    await client.checkAll();
  });

  it('a gateway outside the group, and any member by hand, is refused the volume', async () => {
    await using outside = new HomeRig('outside');
    await outside.ok('activate', '--name', 'outside', '--store', group.store);
    await outside.ok('gateway', 'start');
    const refused = await outside.failure('volume', 'attach', 'disk', '--take-over');
    expect(refused).toMatchObject({ code: 'volume-in-group', exitCode: 4 });
    const [other] = await group.others();
    for (const member of [await group.holder(), other as GroupMember])
      expect(await member.codeOf('volume.attach', { volume: 'disk', takeOver: true })).toBe('volume-in-group');
    await client.under(async () => delay(500));
  });
});

describe('with ack=store', () => {
  it('every holder acknowledges what the store has, and a take-over loses nothing', async () => {
    await group.settle(2);
    await group.assign({ ack: 'store' });
    const holder = await group.holder();
    await acknowledgedBy(holder, 'store');
    expect(await holder.codeOf('volume.configure', { volume: 'disk', ack: 'log' })).toBe('volume-in-group');
    const pauseMs = await client.under(async () => {
      await holder.kill();
      expect((await group.holder()).name).not.toBe(holder.name);
    });
    told('the holder killed, ack=store', pauseMs);
    await acknowledgedBy(await group.holder(), 'store');
    await group.settle(2);
    await client.checkAll();
    await group.assign({ ack: 'peer' });
    await acknowledgedBy(await group.holder(), 'peer');
  });
});

describe('with fewer replicas than there are to be', () => {
  it('C26: nothing is acknowledged where the volume is to stop, and all goes on when one is back', async () => {
    await group.settle(2);
    await group.assign({ replicas: 1, whenDegraded: 'stop' });
    await group.inSync(1);
    const holder = await group.holder();
    const away = await group.others();
    const direct = await NbdClient.connect(holder.socket, 'disk');
    for (const member of away) await member.kill();
    let isAnswered = false;
    const write = direct.write(0, Buffer.alloc(PAGE)).then(() => {
      isAnswered = true;
    });
    write.catch(() => undefined);
    await group.waitFor('the volume is told to be degraded', async () => {
      const { reason } = await group.shownBy(holder);
      return reason?.startsWith('nothing is acknowledged') === true ? reason : undefined;
    });
    await delay(3000);
    expect(isAnswered).toBe(false);
    await away[0]?.start();
    await group.inSync(1);
    await write;
    expect(isAnswered).toBe(true);
    direct.close();
    await group.assign({ whenDegraded: 'continue' });
  });

  it('C28: what the operator has taken over when all that had everything are gone may lack something, and the others follow', async () => {
    const { replicaStates } = await group.settle(1);
    const holder = await group.holder();
    const replica = replicaStates?.find(({ state }) => state === 'in-sync')?.name;
    const outsider = group.members.find(({ name }) => name !== holder.name && name !== replica);
    if (outsider === undefined) throw new Error('one of three is no replica');
    await Promise.all(group.members.filter((member) => member !== outsider).map(async (member) => member.kill()));
    // Longer than any promise.
    await delay(6000);
    expect((await group.shownBy(outsider)).holder?.name).toBe(holder.name);
    expect(await outsider.codeOf('group.failover', { volume: 'disk' })).toBe('no-take-over');
    const moved = await outsider.call('group.failover', { volume: 'disk', acceptLoss: true });
    expect(moved).toMatchObject({ changed: true, to: { name: outsider.name } });
    await client
      .under(async () => delay(100))
      .catch((error: unknown) => {
        // What it lacks its clients see as what was there before.
        expect(String(error)).toMatch(/where write \d+ was there already/);
      });
    await group.settle(1);
    expect((await group.holder()).name).toBe(outsider.name);
  });

  it('a replica that hangs is followed by another member', async () => {
    await group.assign({ replicas: 1 });
    await group.settle(1);
    const holder = await group.holder();
    const replicaStates = await group.waitFor('one replica is in sync', async () => {
      const { inSync: set, replicaStates: now } = await group.shownBy(holder);
      return set.length === 2 && now?.length === 1 ? now : undefined;
    });
    const inSync = replicaStates.find(({ state }) => state === 'in-sync')?.name;
    const hung = group.members.find(({ name }) => name === inSync);
    hung?.signal('SIGSTOP');
    await group.waitFor('another one is in sync', async () => {
      const { replicaStates: now } = await group.shownBy(holder);
      return now?.some(({ name, state }) => name !== inSync && state === 'in-sync') === true || undefined;
    });
    hung?.signal('SIGCONT');
    await group.settle(1);
  });
});

describe('with ack=log', () => {
  it('it is told how far replicas are behind; what a holder had alone is set aside when it returns, named, and can be had', async () => {
    await group.settle(1);
    await group.assign({ replicas: 2, ack: 'log', allowLoss: true });
    await group.inSync(2);
    const holder = await group.holder();
    const others = await group.others();
    await acknowledgedBy(holder, 'log');
    await holder.call('volume.configure', { volume: 'disk', bufferBytes: 64 * MIB, sealIntervalMs: 3_600_000 });
    const direct = await NbdClient.connect(holder.socket, 'disk');
    const away = `${group.store}-away`;
    const writeAll = async (byte: number): Promise<void> => {
      const starts = Array.from({ length: ALONE_BYTES / MIB }, (_, i) => i * MIB);
      await Promise.all(starts.map(async (at) => direct.write(at, Buffer.alloc(MIB, byte))));
    };
    // One that does not read is behind, and is told to be.
    others[0]?.signal('SIGSTOP');
    await writeAll(1);
    const { replicaStates } = await group.shownBy(holder);
    const lag = replicaStates?.find(({ name }) => name === others[0]?.name)?.lagBytes ?? 0;
    expect(lag).toBeGreaterThan(4 * MIB);
    others[0]?.signal('SIGCONT');
    await group.waitFor('all have it', async () => {
      const now = (await group.inSync(2)).replicaStates;
      return now?.every(({ lagBytes }) => lagBytes === 0) === true || undefined;
    });
    // What nobody else has is acknowledged while the lease lasts; without the store it is not uploaded, and nobody leaves the set.
    for (const member of others) member.signal('SIGSTOP');
    renameSync(group.store, away);
    try {
      await writeAll(2);
      const { remarks: known } = await holder.call('group.show', {});
      expect(known).toEqual([expect.stringContaining('The store can not be reached') as string]);
    } finally {
      await holder.kill();
      renameSync(away, group.store);
    }
    direct.close();
    for (const member of others) member.signal('SIGCONT');
    expect((await group.holder()).name).not.toBe(holder.name);
    await group.settle(2);
    const { remarks } = await holder.call('status', {});
    expect(remarks.join('\n')).toMatch(/write log .* was set aside.*sgw doctor/s);
    const volumeId = (await holder.call('volume.show', { volume: 'disk' })).volumeId;
    const [name = ''] = readdirSync(path.join(holder.rig.home, 'volumes', volumeId)).filter((one) =>
      one.startsWith('log-'),
    );
    expect(name).toBe('log-diverged-1');
    expect(holder.rig.log().map(({ message }) => message)).toContain(
      'records that the holder of the volume does not have were set aside',
    );
    const recovered = await holder.call('volume.recover-log', { volume: 'disk', into: 'rescued', log: name });
    expect(recovered.name).toBe('rescued');
    await holder.call('volume.attach', { volume: 'rescued' });
    const rescued = await NbdClient.connect(holder.socket, 'rescued');
    for (let at = 0; at < ALONE_BYTES; at += MIB)
      expect((await rescued.read(at, MIB)).equals(Buffer.alloc(MIB, 2))).toBe(true);
    rescued.close();
  });
});

describe('taken out of the group', () => {
  it('the volume is any other that any gateway can attach', async () => {
    await group.settle(2);
    const holder = await group.holder();
    const [other] = await group.others();
    // It needs no replicas any more.
    await group.assign({ whenDegraded: 'stop' });
    await group.assign({ replicas: 0 });
    await acknowledgedBy(holder, 'log');
    const direct = await NbdClient.connect(holder.socket, 'disk');
    await direct.write(0, Buffer.alloc(PAGE, 1));
    await direct.flush();
    expect((await direct.read(0, PAGE)).equals(Buffer.alloc(PAGE, 1))).toBe(true);
    direct.close();
    for (const ack of ['peer', 'store'] as const)
      expect(await other?.codeOf('volume.attach', { volume: 'disk', ack })).not.toBe('done');
    expect((await other?.call('volume.configure', { volume: 'disk' }))?.own).toEqual([]);
    const detached = async (member: GroupMember): Promise<void> => {
      await group.waitFor(`${member.name} has heard of it`, async () => {
        return (await member.codeOf('volume.detach', { volume: 'disk', force: true })) === 'done' || undefined;
      });
    };
    await detached(holder);
    if (other === undefined) throw new Error('a group has more than one member');
    await group.waitFor('another gateway may attach it', async () => {
      return (await other.codeOf('volume.attach', { volume: 'disk' })) === 'done' || undefined;
    });
    await detached(other);
    await using outside = new HomeRig('outside');
    await outside.ok('activate', '--name', 'outside', '--store', group.store);
    await outside.ok('gateway', 'start');
    await outside.ok('volume', 'attach', 'disk');
  });
});
