/**
 * A group of gateways that were activated at a service over the network and keep their data there: set up from afar, with the service
 * there and gone when the holder is killed, and with links between members cut while all reach the service.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HomeRig } from '../cli/gateway-rig.ts';
import { makeNetwork, type Network } from '../soak/groups/net.ts';
import { PAGE } from '../soak/served/stamps.ts';
import { ServiceProcess, type Customer } from '../support/service-process.ts';
import type { Connected } from './connected.ts';
import { FollowingClient, GroupRig, type GroupMember } from './group-rig.ts';

const PAGES = 2048;
const NAMES = ['one', 'two', 'three'];

const network: Network = makeNetwork(NAMES.length);
let provider: HomeRig;
let service: ServiceProcess;
let anna: Customer;
let group: GroupRig;
let connected: Connected;
let client: FollowingClient;

const told = (what: string, pauseMs: number): void => {
  process.stderr.write(`${what}: nothing was answered for ${pauseMs.toFixed(0)} ms\n`);
};

/** Over which the service asks it; a daemon gets it a while after it has started. */
const hasConnection = async (member: GroupMember): Promise<true | undefined> =>
  (await member.call('status', {})).service?.connection?.state === 'connected' ? true : undefined;

/** Each member, after the service was away or a daemon: the waits between their tries are random. */
async function allConnected(rig: GroupRig): Promise<void> {
  for (const member of rig.members)
    await rig.waitFor(`${member.name} is connected to the service`, async () => hasConnection(member));
}

async function activate({ name, rig }: GroupMember, index: number): Promise<void> {
  const shown = await rig.ok('activate', ...service.place, '--name', name, '--no-wait');
  await provider.okWith(service.as(anna), 'service', 'activate', String(shown['activationKey']), '--yes');
  await rig.ok('activate', '--account', anna.accountId);
  await rig.ok('configure', '--peer-listen', `${network.addressOf(index + 1)}:0`);
}

beforeAll(async () => {
  provider = new HomeRig('service');
  const place = `${network.hostAddress}:0`;
  service = await ServiceProcess.start(provider, {}, [place, place]);
  anna = await service.customer('anna');
  const afar = ['group', 'assign', 'rack', 'disk', '--replicas', '2', '--gateway', 'two'];
  group = await GroupRig.start(NAMES, {
    ...{ sizeBytes: PAGES * PAGE, replicas: 2, activate },
    within: (index) => network.within(index + 1),
    assign: async (rig) => {
      await allConnected(rig);
      expect(await provider.okWith(service.as(anna), ...afar)).toMatchObject({ changed: true });
    },
  });
  connected = await group.connect();
  client = await FollowingClient.of(connected.socket, PAGES);
}, 300_000);
afterAll(async () => {
  client[Symbol.dispose]();
  await connected[Symbol.asyncDispose]();
  await group[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
  network.remove();
});

describe('at a service', () => {
  it('what the members know is seen from afar', async () => {
    const shown = await provider.okWith(service.as(anna), 'group', 'show', 'rack', '--gateway', 'one');
    expect(shown).toMatchObject({
      ...{
        live: true,
        members: [{ name: 'one', connected: null }, { name: 'two', connected: true }, { name: 'three' }],
      },
      volumes: [{ name: 'disk', holder: { name: 'one' }, degraded: false, reason: null }],
    });
  });

  it('C27: the holder is killed while the service is there', async () => {
    const holder = await group.holder();
    const pauseMs = await client.under(async () => {
      await holder.kill();
      expect((await group.holder()).name).not.toBe(holder.name);
    });
    told('the holder killed', pauseMs);
    await group.settle(2);
    await client.checkAll();
  });

  it('the service, which has the store, is gone: clients are served; nobody takes over until it is back, and nothing is lost', async () => {
    const holder = await group.holder();
    const others = await group.others();
    const pauseMs = await client.under(async () => {
      await service.kill();
      const before = client.writes;
      await delay(2000);
      expect(client.writes).toBeGreaterThan(before + 10);
      await holder.kill();
      // Longer than a promise.
      await delay(6000);
      service = await service.again();
      await group.waitFor('another member holds the volume', async () => {
        const { holder: now, replicaStates } = await group.shownBy(others[0] as GroupMember);
        return now !== null && now.name !== holder.name && (replicaStates !== null || now.name !== others[0]?.name)
          ? now
          : undefined;
      });
    });
    told('the holder killed while the service was gone', pauseMs);
    expect(pauseMs).toBeGreaterThan(6000);
    await group.settle(2);
    await client.checkAll();
  });
});

if (!network.canCut) process.stderr.write('skipping links that are cut: no network namespaces here\n');

describe.skipIf(!network.canCut)('with a member that is cut off from the others, and reaches the service', () => {
  it('C27: the service permits no take-over while the holder lives, not even one that the operator asks for', async () => {
    await group.settle(2);
    // The service can only ask a holder that is connected to it.
    await allConnected(group);
    const holder = await group.holder();
    const [cutOff] = await group.others();
    if (cutOff === undefined) throw new Error('a group has more than one member');
    const at = group.members.indexOf(cutOff) + 1;
    const pauseMs = await client.under(async () => {
      for (const number of [1, 2, 3].filter((one) => one !== at)) {
        network.cut(at, number);
        network.cut(number, at);
      }
      try {
        const { inSync } = await group.waitFor('the holder goes on without it', async () => {
          const shown = await group.shownBy(holder);
          return shown.inSync.length === 2 ? shown : undefined;
        });
        expect(inSync).toHaveLength(2);
        // Longer than its promise.
        await delay(6000);
        expect((await group.shownBy(cutOff)).holder?.name).toBe(holder.name);
        expect(await cutOff.codeOf('group.failover', { volume: 'disk', acceptLoss: true })).toBe('holder-alive');
        expect((await group.holder()).name).toBe(holder.name);
      } finally {
        network.heal();
      }
    });
    told('a member cut off', pauseMs);
    await group.inSync(2);
    await client.checkAll();
  });
});
