/** Groups over a service in memory: gateways of two accounts, volumes, and what members ask. */
import { Catalog, replaceDocument, readDocument, type Head } from '../../../../src/core/blockstore/index.ts';
import type { VolumeId } from '../../../../src/core/kit/index.ts';
import type { MessageResult, SignedBody, SignedMessageName } from '../../../../src/core/protocol/index.ts';
import { ANNA, ServiceRig, type Device } from '../rig.ts';

export class GroupRig extends ServiceRig {
  readonly catalog = new Catalog(this.blocks);

  /** A gateway of an account, by its name. */
  async named(gatewayName: string, accountId = ANNA): Promise<Device> {
    const device = this.device();
    await device.show();
    await this.operator('activation.claim', device.claim({ accountId, gatewayName }));
    await device.requestCredential();
    return device;
  }

  async ask<N extends SignedMessageName>(device: Device, name: N, body: SignedBody<N>): Promise<MessageResult<N>> {
    return await this.gateway(name, device.sign(name, body));
  }

  async volume(name: string, accountId = ANNA): Promise<VolumeId> {
    const { volumeId } = await this.catalog.createVolume({ name, sizeBytes: 1 << 20, accountId });
    return volumeId;
  }

  /** As a gateway that opens the volume, or changes its set, leaves the head. */
  async setHead(volumeId: VolumeId, change: Partial<Head>): Promise<void> {
    const key = `volumes/${volumeId}/head.json`;
    const now = await readDocument<Head>(this.blocks, key);
    if (now === undefined) throw new Error(`no head of ${volumeId}`);
    await replaceDocument(this.blocks, key, now, { ...now.value, ...change });
  }

  async heldBy(volumeId: VolumeId, device: Device, inSync: readonly string[] = []): Promise<void> {
    const holder = { gatewayId: idOf(device), name: 'holder', since: '2026-01-01T00:00:00.000Z' };
    await this.setHead(volumeId, { epoch: 1, holder, inSync });
  }
}

export const idOf = (device: Device): string => device.credential?.gatewayId ?? '';
