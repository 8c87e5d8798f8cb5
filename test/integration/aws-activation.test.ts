/** Activation by the Storage Gateway API: a device that waits becomes a gateway of the account that asks. */
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WaitingDevice } from './aws-device.ts';
import { AwsRig, BERT, REGION } from './aws-rig.ts';

let rig: AwsRig;
let client: Sdk.StorageGatewayClient;
beforeAll(async () => {
  ({ rig } = await AwsRig.start());
  client = rig.client(BERT);
}, 60_000);
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

const activate = async (
  ActivationKey: string,
  more: Partial<Sdk.ActivateGatewayInput> = {},
): Promise<Sdk.ActivateGatewayOutput> =>
  client.send(
    new Sdk.ActivateGatewayCommand({
      ActivationKey,
      GatewayName: 'Branch office: 2nd floor',
      GatewayTimezone: 'GMT-8:00',
      GatewayRegion: REGION,
      ...more,
    }),
  );
const codeOf = async (sent: Promise<unknown>): Promise<string | undefined> =>
  sent.then(
    () => expect.unreachable('it was not refused'),
    (error: unknown) => (error as Sdk.InvalidGatewayRequestException).error?.errorCode,
  );
const describeGateway = async (GatewayARN: string | undefined): Promise<Sdk.DescribeGatewayInformationOutput> =>
  client.send(new Sdk.DescribeGatewayInformationCommand({ GatewayARN }));

describe('activation', () => {
  it('takes what the customer says to the device, and shows the gateway before it has come', async () => {
    const device = await WaitingDevice.show(rig.service);
    const Tags = [{ Key: 'site', Value: 'north' }];
    const { GatewayARN } = await activate(device.activationKey, { GatewayType: 'STORED', Tags });
    const about = { GatewayName: 'Branch office: 2nd floor', GatewayType: 'STORED', GatewayTimezone: 'GMT-8:00', Tags };
    expect(await describeGateway(GatewayARN)).toMatchObject({ ...about, GatewayState: 'OFFLINE' });
    const customer = await device.collect();
    expect(customer).toMatchObject({ gatewayName: 'Branch-office--2nd-floor', mode: 'shadowing', accountId: BERT });
    expect(GatewayARN).toBe(rig.arn(customer.gatewayId, BERT));
    expect(await describeGateway(GatewayARN)).toMatchObject(about);
    const { Gateways } = await client.send(new Sdk.ListGatewaysCommand({}));
    expect(Gateways).toMatchObject([{ GatewayARN, GatewayName: 'Branch office: 2nd floor' }]);
    await client.send(new Sdk.DeleteGatewayCommand({ GatewayARN }));
    expect(await codeOf(describeGateway(GatewayARN))).toBe('GatewayNotFound');
    await expect(device.collect()).rejects.toMatchObject({ code: 'gateway-deregistered' });
  });

  it('is cached where no type is given, and refused for types that are not served', async () => {
    const device = await WaitingDevice.show(rig.service);
    expect(await codeOf(activate(device.activationKey, { GatewayType: 'VTL' }))).toBe('NotSupported');
    expect(await codeOf(activate(device.activationKey, { GatewayRegion: 'mars-1' }))).toBe('RegionInvalid');
    expect(await codeOf(activate(device.activationKey, { GatewayTimezone: 'GMT+99:00' }))).toBe('InvalidParameters');
    const { GatewayARN } = await activate(device.activationKey);
    expect(await describeGateway(GatewayARN)).toMatchObject({ GatewayType: 'CACHED' });
    await client.send(new Sdk.DeleteGatewayCommand({ GatewayARN }));
  });

  it('takes a key once, and only one that there is', async () => {
    expect(await codeOf(activate('AAAAA-AAAAA-AAAAA-AAAAA-AAAAA'))).toBe('ActivationKeyNotFound');
    const device = await WaitingDevice.show(rig.service);
    const { GatewayARN } = await activate(device.activationKey);
    expect(await codeOf(activate(device.activationKey, { GatewayName: 'other' }))).toBe('ActivationKeyInvalid');
    // Who does not know whether it came through asks again.
    expect((await activate(device.activationKey)).GatewayARN).toBe(GatewayARN);
    // A failed claim leaves nothing that is listed.
    const { Gateways } = await client.send(new Sdk.ListGatewaysCommand({}));
    expect(Gateways).toHaveLength(1);
    await client.send(new Sdk.DeleteGatewayCommand({ GatewayARN }));
  });

  it('of a gateway that was deleted before it came is void', async () => {
    const device = await WaitingDevice.show(rig.service);
    const { GatewayARN } = await activate(device.activationKey);
    await client.send(new Sdk.DeleteGatewayCommand({ GatewayARN }));
    expect(await codeOf(activate(device.activationKey))).toBe('ActivationKeyInvalid');
    const { gatewayId } = await device.collect();
    expect(await codeOf(describeGateway(GatewayARN))).toBe('GatewayNotFound');
    const { state } = await rig.service.gateways.require(gatewayId, new AbortController().signal);
    expect(state).toBe('deregistered');
  });
});
