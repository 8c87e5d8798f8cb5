/**
 * Requests of the Storage Gateway API made of the model by chance, right and wrong: none makes the service fail, and none of one
 * account comes to anything of another's.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as Sdk from '@aws-sdk/client-storage-gateway';
import { seededRandom, type Random } from '../../src/core/kit/index.ts';
import { INPUTS, OTHER_OPERATIONS, TARGET_PREFIX } from '../../src/core/service/aws/storagegateway/model-names.ts';
import { SHAPES } from '../../src/core/service/aws/storagegateway/model-shapes.ts';
import { ANNA, AwsRig, BERT, keyOf, LOOPBACK, type ServedGateway } from './aws-rig.ts';

const SEED = Number(process.env['SGW_SEED'] ?? '8');
const REQUESTS = 700;
const TIMEOUT_MS = 180_000;
const OPERATIONS = Object.keys(INPUTS) as (keyof typeof INPUTS)[];
const STRANGE: readonly unknown[] = [
  ...[
    null,
    true,
    -1,
    0,
    1.5,
    1e300,
    2 ** 53,
    '',
    ' ',
    '\u0000',
    '\ud800',
    '𝄞'.repeat(40),
    '../../x',
    '%00',
    '__proto__',
  ],
  ...['x'.repeat(60), 'x'.repeat(3000), [], {}, [null], [[]], { __proto__: null, Key: 1 }, { constructor: 'x' }],
];

let rig: AwsRig;
let anna: ServedGateway;
let bert: ServedGateway;
let known: Record<string, readonly string[]>;

beforeAll(async () => {
  ({ rig, gateway: anna } = await AwsRig.start());
  bert = await rig.addGateway('g2', BERT, 'cached');
  const arns = await Promise.all([volumesOf(ANNA, anna), volumesOf(BERT, bert)]);
  const gateways = [rig.arn(anna.gatewayId), rig.arn(bert.gatewayId, BERT), rig.arn(anna.gatewayId, BERT)];
  const volumes = arns.flatMap(({ VolumeARN = '' }) => [VolumeARN, VolumeARN.replace(ANNA, BERT)]);
  known = {
    GatewayARN: gateways,
    VolumeARN: volumes,
    SourceVolumeARN: volumes,
    VolumeARNs: volumes,
    ResourceARN: [...gateways, ...volumes],
    TargetARN: arns.flatMap(({ TargetARN = '' }) => [TargetARN, TargetARN.replace(ANNA, BERT)]),
    NetworkInterfaceId: [LOOPBACK, '192.0.2.1'],
    SnapshotId: ['snap-00000000000000000', 'snap-0000ABCD'],
    TargetName: ['one', 'two', 'three', 'a;b'],
    ClientToken: ['token-1', 'token-2'],
    DiskId: ['cache', 'upload-buffer', '/etc/passwd'],
    DiskIds: ['cache', 'upload-buffer'],
    GatewayTimezone: ['GMT', 'GMT+5:30', 'CET'],
    GatewayType: ['CACHED', 'VTL', 'constructor'],
    GatewayRegion: ['eu-test-1', 'x'],
    ActivationKey: ['AAAAA-AAAAA-AAAAA-AAAAA-AAAAA'],
    BandwidthType: ['UPLOAD', 'ALL', 'toString'],
    InitiatorName: ['iqn.1993-08.org.debian:01:abc', 'iqn.x'],
    Key: ['a', 'aws:x', 'sgw:aws-target-name', 'b'],
    Marker: ['eA', '!'],
  };
}, TIMEOUT_MS);
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

async function volumesOf(accountId: string, gateway: ServedGateway): Promise<Sdk.CreateCachediSCSIVolumeOutput> {
  return await rig.client(accountId).send(
    new Sdk.CreateCachediSCSIVolumeCommand({
      ...{ GatewayARN: rig.arn(gateway.gatewayId, accountId), VolumeSizeInBytes: 1 << 20, TargetName: 'first' },
      ...{ NetworkInterfaceId: LOOPBACK, ClientToken: 'first-token' },
    }),
  );
}

const below = (random: Random, count: number): number => Math.floor(random.float() * count);
const oneOf = <T>(random: Random, values: readonly T[]): T | undefined => values[below(random, values.length)];

/** Something of a shape, or nearly. */
function make(random: Random, shape: string, name: string): unknown {
  if (random.float() < 0.04) return oneOf(random, STRANGE);
  const { type, members = {}, required = [], member = '', min = 0, max = 40, values } = SHAPES[shape] ?? { type: '' };
  switch (type) {
    case 'structure': {
      const wanted = Object.entries(members).filter(([key]) => required.includes(key) === random.float() < 0.96);
      const made = wanted.map(([key, of]) => [key, make(random, of, key)]);
      return Object.fromEntries(random.float() < 0.05 ? [...made, ['Unknown', 1]] : made) as object;
    }
    case 'list':
      return Array.from({ length: below(random, Math.min(max, 3)) + 1 }, () => make(random, member, name));
    case 'boolean':
      return random.float() < 0.5;
    case 'integer':
    case 'long':
      return random.float() < 0.8 ? min + below(random, Math.max(1, Math.min(max, 1 << 22) - min)) : min - 1;
    default:
      return oneOf(random, values ?? known[name] ?? ['a sensible text', 'x'.repeat(max), 'secret-of-14-b']);
  }
}

async function post(accountId: string, target: string, body: string): Promise<{ status: number; text: string }> {
  const response = await fetch(rig.endpoint, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': target,
      authorization: `AWS4-HMAC-SHA256 Credential=${keyOf(accountId)}/x`,
    },
    body,
  });
  return { status: response.status, text: await response.text() };
}

async function fuzz(accountId: string, seed: number, skipped: readonly string[]): Promise<Set<string>> {
  const random = seededRandom(seed);
  const succeeded = new Set<string>();
  for (let i = 0; i < REQUESTS; i++) {
    const operation = OPERATIONS[below(random, OPERATIONS.length)] ?? 'ListGateways';
    if (skipped.includes(operation)) continue;
    const input = make(random, INPUTS[operation], '');
    const body = random.float() < 0.02 ? JSON.stringify(input).slice(1) : JSON.stringify(input);
    const { status, text } = await post(accountId, TARGET_PREFIX + operation, body);
    const about = `seed ${String(seed)}, request ${String(i)}: ${operation} ${body} answered ${text} ${rig.logged.at(-1) ?? ''}`;
    expect([200, 400], about).toContain(status);
    expect(() => JSON.parse(text) as unknown, about).not.toThrow();
    if (status === 200) succeeded.add(operation);
  }
  return succeeded;
}

it(
  'requests of one account come to nothing of another, and fail by name',
  async () => {
    anna.calls.length = 0;
    const before = JSON.stringify(await stateOf(ANNA));
    const succeeded = await fuzz(BERT, SEED, []);
    expect(succeeded.size, `seed ${String(SEED)}`).toBeGreaterThan(5);
    // Not one of them came to the other account's gateway.
    expect(anna.calls).toEqual([]);
    expect(JSON.stringify(await stateOf(ANNA))).toBe(before);
  },
  TIMEOUT_MS,
);

it(
  'requests by the owner fail by name, or do what they say',
  async () => {
    const succeeded = await fuzz(ANNA, SEED + 1, ['DeleteGateway', 'ShutdownGateway', 'DeleteVolume']);
    expect(succeeded.size, `seed ${String(SEED + 1)}`).toBeGreaterThan(15);
  },
  TIMEOUT_MS,
);

it('operations of other kinds of gateways, unknown ones, and bodies that are none fail by name', async () => {
  for (const operation of OTHER_OPERATIONS) {
    const { status, text } = await post(ANNA, TARGET_PREFIX + operation, '{}');
    expect(status).toBe(400);
    expect(JSON.parse(text)).toMatchObject({
      __type: 'InvalidGatewayRequestException',
      error: { errorCode: 'NotSupported', errorDetails: {} },
    });
  }
  for (const target of ['', 'ListGateways', `${TARGET_PREFIX}constructor`, `${TARGET_PREFIX}Nothing`, 'x'.repeat(2000)])
    expect(await post(ANNA, target, '{}')).toEqual({ status: 400, text: '{"__type":"UnknownOperationException"}' });
  for (const body of ['', '{', '[]', '"x"', 'null', '\u0000'])
    expect((await post(ANNA, `${TARGET_PREFIX}ListGateways`, body)).text).toContain('SerializationException');
  const large = await post(ANNA, `${TARGET_PREFIX}ListGateways`, `{"Marker":"${'x'.repeat(2 << 20)}"}`);
  expect([400, 413]).toContain(large.status);
});

/** What an account has, as it sees it. */
async function stateOf(accountId: string): Promise<unknown> {
  const client = rig.client(accountId);
  const { Gateways } = await client.send(new Sdk.ListGatewaysCommand({}));
  const { VolumeInfos } = await client.send(new Sdk.ListVolumesCommand({}));
  const ResourceARN = rig.arn(anna.gatewayId);
  const { Tags } = await client.send(new Sdk.ListTagsForResourceCommand({ ResourceARN }));
  return { Gateways, VolumeInfos, Tags };
}
