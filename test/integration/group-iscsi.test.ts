/** A volume of a group that is served over iSCSI: who takes it over serves the same target, to the same initiators, by the same secrets. */
import { statSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { requireThat } from '../requirements.ts';
import { freePort } from '../support/free-port.ts';
import { GroupRig, type GroupMember } from './group-rig.ts';
import { missingClients, qemuImage, type Attachment, type Login } from './iscsi-clients.ts';
import { exitCode } from './nbd-checks.ts';

const MIB = 1 << 20;
const SECRET = 'kumquat-7f3a-1';
const OTHER_SECRET = 'persimmon-0b55';
const HOST = 'iqn.1993-08.org.debian:01:abc';
const OTHER_HOST = 'iqn.1993-08.org.debian:01:def';
const TIMEOUT_MS = 300_000;

const missing = missingClients();
const { it } = requireThat(missing.length === 0, `${missing.join(', ')} not installed`);

it(
  'a successor serves the same target to the same initiators, by the secrets that they have by then',
  async () => {
    const portals = new Map<string, string>();
    let store: string[] = [];
    await using group = await GroupRig.start(['one', 'two'], {
      ...{ sizeBytes: 16 * MIB, replicas: 1 },
      activate: async ({ name, rig }) => {
        await rig.ok('activate', '--name', name, ...store);
        store = ['--store', path.join(rig.home, 'store')];
        portals.set(name, `127.0.0.1:${String(await freePort())}`);
        await rig.ok('configure', '--iscsi-listen', `tcp:${portals.get(name) ?? ''}`);
      },
      attach: async (first) => {
        await first.call('volume.create', { name: 'disk', sizeBytes: 16 * MIB });
        const words = ['volume', 'attach', 'disk', '--protocol', 'nbd,iscsi', '--chap', 'host-1'];
        const initiators = [HOST, OTHER_HOST].flatMap((initiator) => ['--initiator', initiator]);
        await first.rig.okWith({ SGW_CHAP_SECRET: SECRET }, ...words, ...initiators);
      },
    });
    const [one, two] = group.members;
    if (one === undefined || two === undefined) throw new Error('there are two');
    const attached = await attachmentAt(one);
    const { targetName } = attached.iscsi;
    const own = one.rig.file('secret.txt', SECRET);
    const others = one.rig.file('other.txt', OTHER_SECRET);
    /** Of a command of qemu-io at a member. */
    const run = async (member: GroupMember, login: Login, command: string): Promise<number> => {
      const iscsi = { ...attached.iscsi, portals: [portals.get(member.name) ?? ''] };
      const { objects, image } = qemuImage({ ...attached, iscsi }, login);
      return await exitCode('qemu-io', [...objects, '--image-opts', image, '-c', command]);
    };
    const host: Login = { user: 'host-1', secretFile: own, initiator: HOST };
    const otherHost: Login = { user: OTHER_HOST, secretFile: others, initiator: OTHER_HOST };
    expect(await run(one, host, 'write -P 7 0 65536')).toBe(0);
    expect(await run(two, host, 'read 0 4096')).toBe(1);
    await one.call('volume.chap', { volume: 'disk', set: { initiator: OTHER_HOST, secret: OTHER_SECRET } });
    expect(await run(one, otherHost, 'read -P 7 0 65536')).toBe(0);
    // What is changed is known to who may take over when the command is done.
    await one.kill();
    expect((await group.holder()).name).toBe('two');
    expect((await attachmentAt(two)).iscsi).toMatchObject({ targetName, chapUser: 'host-1' });
    expect(await run(two, host, 'read -P 7 0 65536')).toBe(0);
    expect(await run(two, otherHost, 'write -P 8 65536 65536')).toBe(0);
    expect(await run(two, { ...host, secretFile: others }, 'read 0 4096')).toBe(1);
    expect(await run(two, { ...host, initiator: `${HOST}x` }, 'read 0 4096')).toBe(1);
    expect(await run(two, { initiator: HOST }, 'read 0 4096')).toBe(1);

    // What is changed while it is there holds at the one that comes back, too.
    await one.start();
    await group.inSync(1);
    expect(await one.codeOf('volume.chap', { volume: 'disk', remove: OTHER_HOST })).toBe('not-the-holder');
    await two.call('volume.chap', { volume: 'disk', remove: OTHER_HOST });
    await two.call('group.failover', { volume: 'disk', to: 'one' });
    expect(await run(one, host, 'read -P 8 65536 65536')).toBe(0);
    expect(await run(one, otherHost, 'read 0 4096')).toBe(1);
    expect(statSync(path.join(two.rig.home, 'chap.json')).mode & 0o077).toBe(0);
    for (const member of group.members) expect(JSON.stringify(member.rig.log())).not.toContain(SECRET);
  },
  TIMEOUT_MS,
);

async function attachmentAt(member: GroupMember): Promise<Attachment> {
  const { attachment } = (await member.rig.ok('volume', 'show', 'disk')) as { attachment: Attachment };
  return attachment;
}
