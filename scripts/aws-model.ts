/**
 * Writes what the service checks requests of the Storage Gateway API against: the published model's shapes of inputs, for the
 * operations that a volume gateway has, the names of the others, and the codes of errors. The model is botocore's, which has
 * the ranges, lengths and patterns that the JavaScript client leaves out:
 *
 *   node scripts/aws-model.ts .../botocore/data/storagegateway/2013-06-30/service-2.json
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { format, resolveConfig } from 'prettier';
import { ROOT } from './root.ts';

const FOLDER = path.join(ROOT, 'src/core/service/aws/storagegateway');
/** `reference/aws-wire.md`: what must work. */
const SERVED =
  `ActivateGateway ListGateways DescribeGatewayInformation UpdateGatewayInformation DeleteGateway ShutdownGateway
  StartGateway ListLocalDisks AddCache AddUploadBuffer AddWorkingStorage DescribeCache DescribeUploadBuffer
  DescribeWorkingStorage ResetCache CreateCachediSCSIVolume CreateStorediSCSIVolume DescribeCachediSCSIVolumes
  DescribeStorediSCSIVolumes ListVolumes ListVolumeInitiators DeleteVolume AttachVolume DetachVolume CreateSnapshot
  ListVolumeRecoveryPoints CreateSnapshotFromVolumeRecoveryPoint DescribeSnapshotSchedule UpdateSnapshotSchedule
  DeleteSnapshotSchedule DescribeBandwidthRateLimit UpdateBandwidthRateLimit DeleteBandwidthRateLimit
  DescribeBandwidthRateLimitSchedule UpdateBandwidthRateLimitSchedule DescribeChapCredentials UpdateChapCredentials
  DeleteChapCredentials DescribeMaintenanceStartTime UpdateMaintenanceStartTime UpdateGatewaySoftwareNow AddTagsToResource
  RemoveTagsFromResource ListTagsForResource`.split(/\s+/);

interface ModelShape {
  readonly type: string;
  readonly members?: Readonly<Record<string, { readonly shape: string }>>;
  readonly member?: { readonly shape: string };
  readonly required?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly pattern?: string;
  readonly enum?: readonly string[];
}

interface Model {
  readonly metadata: { readonly targetPrefix: string };
  readonly operations: Readonly<Record<string, { readonly input: { readonly shape: string } }>>;
  readonly shapes: Readonly<Record<string, ModelShape>>;
}

const [source] = process.argv.slice(2);
if (source === undefined) throw new Error('give the path of service-2.json');
const model = JSON.parse(readFileSync(source, 'utf8')) as Model;
const shapes = new Map<string, object>();

function shapeOf(name: string): ModelShape {
  const shape = model.shapes[name];
  if (shape === undefined) throw new Error(`the model has no shape ${name}`);
  return shape;
}

function collect(name: string): void {
  if (shapes.has(name)) return;
  const { type, members, member, required, min, max, pattern, enum: values } = shapeOf(name);
  const bounds = {
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
    ...(pattern === undefined ? {} : { pattern: anchored(pattern) }),
    ...(values === undefined ? {} : { values }),
  };
  if (members !== undefined) {
    const named = Object.fromEntries(Object.entries(members).map(([key, { shape }]) => [key, shape]));
    shapes.set(name, { type, members: named, required: required ?? [] });
    for (const { shape } of Object.values(members)) collect(shape);
  } else if (member !== undefined) {
    shapes.set(name, { type, member: member.shape, ...bounds });
    collect(member.shape);
  } else shapes.set(name, { type, ...bounds });
}

/** The whole text has to match, as with Java's `matches`; `\A` and `\z` are not of this language. */
const anchored = (pattern: string): string => `^(?:${pattern.replace(/^\\A/, '').replace(/\\z$/, '')})$`;

const inputs = Object.fromEntries(
  SERVED.map((name) => {
    const shape = model.operations[name]?.input.shape;
    if (shape === undefined) throw new Error(`the model has no operation ${name}`);
    collect(shape);
    return [name, shape];
  }),
);
const others = Object.keys(model.operations).filter((name) => !SERVED.includes(name));
const codes = (shapeOf('ErrorCode').enum ?? []).map((code) => code.trim());
const HEADER = '/** Written by scripts/aws-model.ts from the published model of the Storage Gateway API. */';
const names = `${HEADER}
export const TARGET_PREFIX = ${JSON.stringify(`${model.metadata.targetPrefix}.`)};

/** Operations of a volume gateway, and the shapes of their inputs. */
export const INPUTS = ${JSON.stringify(inputs)} as const;

/** Operations of tape and file gateways. */
export const OTHER_OPERATIONS: readonly string[] = ${JSON.stringify(others)};

export const ERROR_CODES = ${JSON.stringify(codes)} as const;
`;
const table = `${HEADER}
import type { Shape } from './shape.ts';

export const SHAPES: Readonly<Record<string, Shape>> = ${JSON.stringify(Object.fromEntries(shapes))};
`;
for (const [name, text] of [
  ['model-names.ts', names],
  ['model-shapes.ts', table],
] as const) {
  const file = path.join(FOLDER, name);
  writeFileSync(file, await format(text, { ...(await resolveConfig(file)), parser: 'typescript' }));
}
