/**
 * As service-kills, for what the service has a gateway do: its server holds the gateway's connection, and its store. After a
 * kill the gateway comes back to the server that was started again, by itself and in seconds, and the client asks again.
 */
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MIB } from '../../src/core/kit/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { freePort } from '../support/free-port.ts';
import { ServiceKills } from '../support/service-kills.ts';
import { ShownDevice } from '../support/service-process.ts';

const LOOPBACK = '127.0.0.1';
const KEPT_TIMEOUT_MS = 580_000;
/** A server that starts again on a busy machine, and the first wait of a gateway. */
const BACK_WITHIN_MS = 20_000;

let rig: ServiceKills;
let home: HomeRig;
let gatewayArn: string;
/** ARNs, by the tokens that volumes were asked for with. */
const made = new Map<string, string>();

const codeOf = (error: unknown): string | undefined =>
  error instanceof Sdk.InvalidGatewayRequestException ? error.error?.errorCode : undefined;

/** As clients do: what a gateway that is not connected was to do is asked for again, for a bounded time. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + BACK_WITHIN_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (codeOf(error) !== 'GatewayNotConnected' || performance.now() > endMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

async function create(gateways: Sdk.StorageGatewayClient, name: string): Promise<Sdk.CreateCachediSCSIVolumeOutput> {
  const what = { TargetName: name, ClientToken: `token-${name}`, VolumeSizeInBytes: 64 * MIB };
  const where = { GatewayARN: gatewayArn, NetworkInterfaceId: LOOPBACK };
  return await patiently(async () => gateways.send(new Sdk.CreateCachediSCSIVolumeCommand({ ...what, ...where })));
}

/** By the API; and by the gateway itself, which has each of them attached. */
async function volumes(): Promise<string[]> {
  const { gateways } = rig.clientsOf(rig.first);
  const { VolumeInfos = [] } = await gateways.send(new Sdk.ListVolumesCommand({ GatewayARN: gatewayArn }));
  const arns = VolumeInfos.map(({ VolumeARN = '' }) => VolumeARN).sort();
  const own = (await home.ok('volume', 'list')) as {
    readonly volumes?: readonly { readonly volumeId: string; readonly attachment: object | null }[];
  };
  expect(own.volumes?.filter(({ attachment }) => attachment === null)).toEqual([]);
  expect(own.volumes?.map(({ volumeId }) => `${gatewayArn}/volume/${volumeId}`).sort()).toEqual(arns);
  return arns;
}

beforeAll(async () => {
  rig = await ServiceKills.start();
  home = new HomeRig('gateway');
  const { gateways } = rig.clientsOf(rig.first);
  const device = await ShownDevice.show(home, rig.first);
  const wish = { GatewayName: 'attic', GatewayTimezone: 'GMT', GatewayRegion: rig.first.ready.region };
  const claim = new Sdk.ActivateGatewayCommand({ ...wish, ActivationKey: device.activationKey });
  gatewayArn = (await gateways.send(claim)).GatewayARN ?? '';
  await device.activated();
  await home.ok('configure', '--iscsi-listen', `tcp:${LOOPBACK}:${String(await freePort())}`);
  await home.ok('gateway', 'start');
}, 120_000);
afterAll(async () => {
  await home[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

describe('a server that is killed at any write, of its own or of the gateway that it serves', () => {
  it(
    'of CreateCachediSCSIVolume has one volume made for a token, and attached',
    async () => {
      let rounds = 0;
      const kills = await rig.killedAtEachWrite({
        again: 'killed',
        prepare: async () => Promise.resolve(`db-${String(rounds++)}`),
        ask: async ({ gateways }, name) => create(gateways, name),
        check: async ({ VolumeARN = '', TargetARN = '' }, name) => {
          expect(TargetARN.endsWith(`:${name}`)).toBe(true);
          expect(made.get(name) ?? VolumeARN).toBe(VolumeARN);
          made.set(name, VolumeARN);
          await expect.poll(volumes, { timeout: BACK_WITHIN_MS, interval: 250 }).toEqual([...made.values()].sort());
        },
      });
      expect(kills).toBeGreaterThanOrEqual(4);
    },
    KEPT_TIMEOUT_MS,
  );

  it(
    'of DeleteVolume has it deleted once it is asked again, and no other',
    async () => {
      let mores = 0;
      const left = [...made.values()];
      const kills = await rig.killedAtEachWrite({
        again: 'killed',
        prepare: async () => {
          const { gateways } = rig.clientsOf(rig.first);
          return left.pop() ?? (await create(gateways, `more-${String(mores++)}`)).VolumeARN ?? '';
        },
        ask: async ({ gateways }, VolumeARN) =>
          patiently(async () => gateways.send(new Sdk.DeleteVolumeCommand({ VolumeARN }))).catch((error: unknown) => {
            // That it is gone is what was asked for.
            if (codeOf(error) === 'VolumeNotFound') return { VolumeARN };
            throw error;
          }),
        check: async ({ VolumeARN }, arn) => {
          expect(VolumeARN).toBe(arn);
          await expect.poll(volumes, { timeout: BACK_WITHIN_MS, interval: 250 }).toEqual([...left].sort());
          const { gateways } = rig.clientsOf(rig.first);
          const wanted = new Sdk.DescribeCachediSCSIVolumesCommand({ VolumeARNs: [arn] });
          expect(await gateways.send(wanted).then(() => 'there', codeOf)).toBe('VolumeNotFound');
        },
      });
      expect(kills).toBeGreaterThanOrEqual(3);
    },
    KEPT_TIMEOUT_MS,
  );
});
