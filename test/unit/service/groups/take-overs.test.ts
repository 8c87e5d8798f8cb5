/** What a candidate is told when it asks for a volume of its group (docs/adr/0025-groups.md). */
import { beforeEach, describe, expect, it } from 'vitest';
import type { VolumeId } from '../../../../src/core/kit/index.ts';
import { SgwError } from '../../../../src/core/kit/index.ts';
import { answersOf, servicePartsOf } from '../../../../src/core/service/answers.ts';
import type { HoldingInquiry } from '../../../../src/core/service/groups/take-overs.ts';
import { ANNA, SERVICE_ID, type Device } from '../rig.ts';
import { GroupRig, idOf } from './rig.ts';

let rig: GroupRig;
let holder: Device;
let candidate: Device;
let stranger: Device;
let volumeId: VolumeId;
let asked: { gatewayId: string; volumeId: string; deadlineMs: number }[];
beforeEach(async () => {
  rig = new GroupRig();
  await rig.accounts();
  [holder, candidate, stranger] = [await rig.named('one'), await rig.named('two'), await rig.named('three')];
  await rig.ask(holder, 'group.create', { accountId: ANNA, name: 'rack', clientToken: null });
  for (const gateway of ['one', 'two']) await rig.ask(holder, 'group.add', { accountId: ANNA, group: 'rack', gateway });
  volumeId = await rig.volume('db');
  await rig.ask(holder, 'group.assign', { accountId: ANNA, group: 'rack', volumeId, wish: {} });
  await rig.heldBy(volumeId, holder, [idOf(holder), idOf(candidate)]);
  asked = [];
});

/** A service whose control plane answers so. */
function permit(device: Device, isHolding?: HoldingInquiry['isHolding'], change = {}): Promise<unknown> {
  const parts = servicePartsOf({ blocks: rig.blocks, serviceId: SERVICE_ID, isEmbedded: false });
  if (isHolding !== undefined)
    parts.takeOvers.askBy({
      isHolding: async (gatewayId, id, options) => {
        asked.push({ gatewayId, volumeId: id, deadlineMs: options.deadlineMs });
        return await isHolding(gatewayId, id, options);
      },
    });
  const body = { volumeId, epoch: 1, reason: 'it does not answer', ...change };
  return answersOf(parts)['group.permit'](device.sign('group.permit', body), rig.signal);
}
const records = async () => (await rig.documents('service/audit/')).filter(({ kind }) => kind === 'take-over');

describe('permission to take a volume over', () => {
  it('C27: is refused while the holder says that it holds it, and nothing is recorded', async () => {
    await expect(permit(candidate, async () => Promise.resolve(true))).rejects.toMatchObject({
      ...{ kind: 'conflict', code: 'holder-alive', details: { volumeId, gatewayId: idOf(holder) } },
    });
    expect(asked).toEqual([{ gatewayId: idOf(holder), volumeId, deadlineMs: expect.any(Number) as number }]);
    expect(asked[0]?.deadlineMs).toBeLessThanOrEqual(1000);
    expect(await records()).toEqual([]);
  });

  it('is given, and recorded, when the holder does not hold it any more', async () => {
    await permit(candidate, async () => Promise.resolve(false));
    expect(await records()).toMatchObject([
      {
        ...{ kind: 'take-over', gatewayId: idOf(candidate), accountId: ANNA, volumeId, epoch: 1 },
        ...{ fromGatewayId: idOf(holder), reason: 'it does not answer', at: '2026-01-01T00:00:00.000Z' },
      },
    ]);
  });

  it.each([
    ['not connected', new SgwError('unavailable', 'gateway-not-connected', 'not connected')],
    ['too slow', new SgwError('timeout', 'gateway-timed-out', 'too slow')],
    ['too old to say it', new SgwError('unsupported', 'gateway-outdated', 'too old')],
  ])('is given when the holder is %s', async (_why, failure) => {
    await permit(candidate, async () => Promise.reject(failure));
    expect(await records()).toHaveLength(1);
  });

  it('is given where nobody can be asked, as in the embedded form', async () => {
    await permit(candidate);
    expect(await records()).toHaveLength(1);
  });

  it('asks nobody when nobody holds it, nor the holder itself when that comes back', async () => {
    const yes: HoldingInquiry['isHolding'] = async () => Promise.resolve(true);
    await permit(holder, yes);
    await rig.setHead(volumeId, { holder: null });
    await permit(candidate, yes);
    expect(asked).toEqual([]);
    expect((await records()).map(({ fromGatewayId }) => fromGatewayId)).toEqual([idOf(holder), null]);
  });

  it('is for members alone, and for volumes of their group', async () => {
    await expect(permit(stranger)).rejects.toMatchObject({ kind: 'notFound', code: 'group-not-found' });
    const other = await rig.volume('web');
    await expect(permit(candidate, undefined, { volumeId: other })).rejects.toMatchObject({ code: 'volume-not-found' });
    expect(await records()).toEqual([]);
  });

  it('is not given to one whose caller has gone', async () => {
    const gone = new SgwError('aborted', 'caller-gone', 'gone');
    await expect(permit(candidate, async () => Promise.reject(gone))).rejects.toBe(gone);
    expect(await records()).toEqual([]);
  });
});
