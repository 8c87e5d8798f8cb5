/**
 * A server of the service that is killed between any two writes of a request to its store: whoever asked does not know what was
 * done, asks again with the same token, now this server started again, now another one over the same store, and it is as if it
 * had been asked once. Which writes there are is found by killing before each, until the request comes through.
 */
import path from 'node:path';
import * as Ebs from '@aws-sdk/client-ebs';
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Catalog } from '../../src/core/blockstore/index.ts';
import { systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { openObjectStore } from '../../src/core/objectstore/index.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { ServiceKills } from '../support/service-kills.ts';
import { ShownDevice } from '../support/service-process.ts';
import { aggregate, blockOf, digests, putBlock, readSnapshot } from '../unit/service/ebs/ebs-rig.ts';

const KEPT_TIMEOUT_MS = 240_000;

let rig: ServiceKills;

beforeAll(async () => {
  rig = await ServiceKills.start();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

async function snapshotsOfStore(): Promise<readonly { readonly snapshotId: string; readonly state: string }[]> {
  const objects = await openObjectStore(path.join(rig.provider.home, 'store'), { create: false });
  try {
    const { signal } = new AbortController();
    return await new Catalog({ objects, clock: systemClock, random: systemRandom }).listSnapshots({ signal });
  } finally {
    await objects.close();
  }
}

describe('a server that is killed at any write', () => {
  it(
    'of StartSnapshot has begun one snapshot for a token',
    async () => {
      let rounds = 0;
      const kills = await rig.killedAtEachWrite({
        prepare: async () => Promise.resolve(`token-${String(rounds++)}`),
        ask: async ({ ebs }, ClientToken) =>
          (await ebs.send(new Ebs.StartSnapshotCommand({ VolumeSize: 1, ClientToken }))).SnapshotId,
        check: async (snapshotId) => {
          const ids = (await snapshotsOfStore()).map((one) => one.snapshotId);
          expect(ids).toContain(snapshotId);
          expect(ids).toHaveLength(rounds);
        },
      });
      expect(kills).toBeGreaterThanOrEqual(1);
    },
    KEPT_TIMEOUT_MS,
  );

  it(
    'of CompleteSnapshot has completed it, whole, once it is asked again',
    async () => {
      const blocks = new Map([2, 700].map((index) => [index, blockOf(index)]));
      const kills = await rig.killedAtEachWrite({
        prepare: async () => {
          const { ebs } = rig.clientsOf(rig.other);
          const { SnapshotId = '' } = await ebs.send(new Ebs.StartSnapshotCommand({ VolumeSize: 1 }));
          for (const [index, bytes] of blocks) await putBlock(ebs, SnapshotId, index, bytes);
          return SnapshotId;
        },
        ask: async ({ ebs }, SnapshotId) =>
          await ebs.send(
            new Ebs.CompleteSnapshotCommand({
              ...{ SnapshotId, ChangedBlocksCount: blocks.size, Checksum: aggregate([...blocks.values()]) },
              ...{ ChecksumAlgorithm: 'SHA256', ChecksumAggregationMethod: 'LINEAR' },
            }),
          ),
        check: async ({ Status = '' }, snapshotId) => {
          expect(['pending', 'completed']).toContain(Status);
          expect(digests(await readSnapshot(rig.clientsOf(rig.other).ebs, snapshotId))).toEqual(digests(blocks));
          const found = (await snapshotsOfStore()).filter((one) => one.snapshotId === snapshotId);
          expect(found).toMatchObject([{ state: 'completed' }]);
        },
      });
      expect(kills).toBeGreaterThanOrEqual(1);
    },
    KEPT_TIMEOUT_MS,
  );

  it(
    'of ActivateGateway and DeleteGateway has made one gateway of a key, and let it go for good',
    async () => {
      const homes: { readonly home: HomeRig; readonly arn: string }[] = [];
      const listed = async (): Promise<(string | undefined)[]> => {
        const { Gateways = [] } = await rig.clientsOf(rig.other).gateways.send(new Sdk.ListGatewaysCommand({}));
        return Gateways.map(({ GatewayARN }) => GatewayARN);
      };
      try {
        const activations = await rig.killedAtEachWrite({
          prepare: async () => {
            const home = new HomeRig('gateway');
            const about = { home, arn: '' };
            homes.push(about);
            return { about, device: await ShownDevice.show(home, rig.first) };
          },
          ask: async ({ gateways }, { device: { activationKey: ActivationKey } }) => {
            const place = { GatewayTimezone: 'GMT', GatewayRegion: rig.first.ready.region };
            const wish = { ActivationKey, GatewayName: 'attic', ...place };
            return (await gateways.send(new Sdk.ActivateGatewayCommand(wish))).GatewayARN ?? '';
          },
          check: async (arn, { about, device }) => {
            const { gatewayId } = await device.activated();
            expect(arn.endsWith(`:gateway/${String(gatewayId)}`)).toBe(true);
            about.arn = arn;
            expect((await listed()).sort()).toEqual(homes.map((one) => one.arn).sort());
          },
        });
        expect(activations).toBeGreaterThanOrEqual(2);
        const left = [...homes];
        const deletions = await rig.killedAtEachWrite({
          prepare: async () => Promise.resolve(left.pop() ?? expect.unreachable('too few gateways')),
          ask: async ({ gateways }, { arn }) =>
            await gateways.send(new Sdk.DeleteGatewayCommand({ GatewayARN: arn })).catch((error: unknown) => {
              // That it is gone is what was asked for.
              if (error instanceof Sdk.InvalidGatewayRequestException && error.error?.errorCode === 'GatewayNotFound')
                return 'gone' as const;
              throw error;
            }),
          check: async (_answer, { arn, home }) => {
            expect(await listed()).not.toContain(arn);
            expect(await home.failure('snapshot', 'list')).toMatchObject({ code: 'gateway-deregistered' });
          },
        });
        expect(deletions).toBeGreaterThanOrEqual(1);
      } finally {
        for (const { home } of homes) await home[Symbol.asyncDispose]();
      }
    },
    KEPT_TIMEOUT_MS,
  );
});
