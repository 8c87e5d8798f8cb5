/** Tags of gateways, which the API keeps, and of volumes, which the catalog does. */
import type * as Sdk from '@aws-sdk/client-storage-gateway';
import { parseArn } from './arns.ts';
import type { Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';
import { findGateway } from './gateway-directory.ts';
import { pageOf } from './paging.ts';
import { changeSettings } from './records.ts';
import type { Checked } from './types.ts';
import { findVolume, setVolumeTags } from './volume-directory.ts';

const TAGS_MAX = 50;
/** Ours, which nobody sees or changes here. */
const OWN_PREFIX = 'sgw:';

type Tags = Readonly<Record<string, string>>;
type TagList = readonly { readonly Key: string; readonly Value: string }[];

/** @throws RequestRefused `InvalidParameters` for too many, one twice, or one whose name is reserved */
export function tagsOf(list: TagList | undefined): Tags {
  const keys = (list ?? []).map(({ Key }) => Key);
  const reserved = keys.find((key) => key.startsWith(OWN_PREFIX) || /^aws:/i.test(key));
  if (reserved !== undefined)
    throw new RequestRefused('InvalidParameters', `tags that begin with "${OWN_PREFIX}" or "aws:" are reserved`);
  if (new Set(keys).size < keys.length) throw new RequestRefused('InvalidParameters', 'a tag is given twice');
  requireFew(keys.length);
  return Object.fromEntries((list ?? []).map(({ Key, Value }) => [Key, Value]));
}

export const tagList = (tags: Tags): { Key: string; Value: string }[] =>
  Object.entries(tags)
    .filter(([key]) => !key.startsWith(OWN_PREFIX))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([Key, Value]) => ({ Key, Value }));

export async function addTags(
  { ResourceARN, Tags }: Checked<Sdk.AddTagsToResourceInput>,
  caller: Caller,
): Promise<Sdk.AddTagsToResourceOutput> {
  const added = tagsOf(Tags);
  await changeTags(caller, ResourceARN, (now) => {
    const next = { ...now, ...added };
    requireFew(tagList(next).length);
    return next;
  });
  return { ResourceARN };
}

export async function removeTags(
  { ResourceARN, TagKeys }: Checked<Sdk.RemoveTagsFromResourceInput>,
  caller: Caller,
): Promise<Sdk.RemoveTagsFromResourceOutput> {
  const gone = new Set(TagKeys.filter((key) => !key.startsWith(OWN_PREFIX)));
  await changeTags(caller, ResourceARN, (now) =>
    Object.fromEntries(Object.entries(now).filter(([key]) => !gone.has(key))),
  );
  return { ResourceARN };
}

export async function listTags(
  { ResourceARN, ...paging }: Checked<Sdk.ListTagsForResourceInput>,
  caller: Caller,
): Promise<Sdk.ListTagsForResourceOutput> {
  const resource = parseArn(caller, ResourceARN, 'gateway', 'volume');
  const tags =
    resource.kind === 'gateway'
      ? (await findGateway(caller, ResourceARN)).settings.tags
      : (await findVolume(caller, ResourceARN)).entry.tags;
  const { rows, ...marker } = pageOf(tagList(tags), ({ Key }) => Key, paging);
  return { ResourceARN, ...marker, Tags: [...rows] };
}

async function changeTags(caller: Caller, arn: string, change: (now: Tags) => Tags): Promise<void> {
  if (parseArn(caller, arn, 'gateway', 'volume').kind === 'volume') {
    await setVolumeTags(caller, await findVolume(caller, arn), change);
    return;
  }
  const { gatewayId } = await findGateway(caller, arn);
  await changeSettings(caller, gatewayId, (now) => ({ ...now, tags: change(now.tags) }));
}

function requireFew(count: number): void {
  if (count > TAGS_MAX)
    throw new RequestRefused('InvalidParameters', `a resource has ${String(TAGS_MAX)} tags at most`);
}
