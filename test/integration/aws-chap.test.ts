/** A real initiator logs in to a target of the Storage Gateway API with the secrets that the API gave it, and with no others. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { expect } from 'vitest';
import { requireThat } from '../requirements.ts';
import { AwsRig, LOOPBACK } from './aws-rig.ts';
import { missingClients, qemuImage, type Attachment, type Login } from './iscsi-clients.ts';
import { exitCode } from './nbd-checks.ts';

const HOSTS = ['iqn.1993-08.org.debian:01:abc', 'iqn.1991-05.com.microsoft:host-2'] as const;
const SECRETS = ['quince-2c41-a1', 'medlar-93d0-b2'] as const;

const missing = missingClients();
const { it } = requireThat(missing.length === 0, `${missing.join(', ')} not installed`);

it('initiators come in as themselves, until their secrets are taken away', async () => {
  const { rig, gateway } = await AwsRig.start();
  await using _rig = rig;
  const client = rig.client();
  const { TargetARN, VolumeARN } = await client.send(
    new Sdk.CreateCachediSCSIVolumeCommand({
      ...{ GatewayARN: rig.arn(gateway.gatewayId), VolumeSizeInBytes: 4 << 20, TargetName: 'disk' },
      ...{ NetworkInterfaceId: LOOPBACK, ClientToken: 'token-1' },
    }),
  );
  const files = await Promise.all(
    SECRETS.map(async (secret, i) => {
      const file = join(rig.directory, `secret-${String(i)}`);
      await writeFile(file, secret);
      return file;
    }),
  );
  const read = async (login: Login): Promise<number> => {
    const served = (await gateway.call('gateway.show', {})).exports[0] as unknown as Attachment;
    const { objects, image } = qemuImage(served, login);
    return await exitCode('qemu-io', [...objects, '-r', '--image-opts', image, '-c', 'read 0 4k']);
  };
  const as = (host: number, file: number): Login =>
    ({
      ...{ user: HOSTS[host], initiator: HOSTS[host], secretFile: files[file] },
    }) as Login;
  expect(await read({ initiator: HOSTS[0] })).toBe(0);
  for (const [i, InitiatorName] of HOSTS.entries()) {
    const credentials = { TargetARN, InitiatorName, SecretToAuthenticateInitiator: SECRETS[i] };
    await client.send(new Sdk.UpdateChapCredentialsCommand(credentials));
  }
  expect(await read({ initiator: HOSTS[0] })).toBe(1);
  expect(await read(as(0, 0))).toBe(0);
  expect(await read(as(1, 1))).toBe(0);
  expect(await read(as(0, 1))).toBe(1);
  // It holds over a restart of the gateway.
  await gateway.stop();
  await gateway.serve();
  expect(await read(as(1, 1))).toBe(0);
  expect(await read({ initiator: HOSTS[1] })).toBe(1);
  await client.send(new Sdk.DeleteChapCredentialsCommand({ TargetARN, InitiatorName: HOSTS[1] }));
  expect(await read(as(1, 1))).toBe(1);
  expect(await read(as(0, 0))).toBe(0);
  await client.send(new Sdk.DeleteChapCredentialsCommand({ TargetARN, InitiatorName: HOSTS[0] }));
  expect(await read({ initiator: HOSTS[1] })).toBe(0);
  await client.send(new Sdk.DeleteVolumeCommand({ VolumeARN }));
}, 120_000);
