/** What the home knows of where a volume is served. */
import type { GroupShown } from '../../localapi/index.ts';
import type { Session } from '../session.ts';

interface HomeSight {
  readonly exportName: string;
  readonly holder: string | null;
  readonly own: readonly string[];
  readonly members: readonly { readonly gatewayId: string; readonly nbd: readonly string[] }[];
}

/**
 * Returns the function that asks the home's gateway, or looks into the store, again and again. `exportName`: where one was given. A
 * group is as it was known last while the service can not be asked. It throws what `volume show` throws.
 */
export function homeSight(session: Session, volume: string, exportName: string | undefined): () => Promise<HomeSight> {
  let group: GroupShown | undefined;
  return async () => {
    const shown = await session.call('volume.show', { volume }, { isRepeated: true });
    const { attachment, holder, name, volumeId } = shown;
    try {
      group = await groupOf(session, volumeId, group?.groupId);
    } catch {
      // What is known of it is likely still so.
    }
    const ofGroup = group?.volumes.find((one) => one.volumeId === volumeId)?.exportName;
    return {
      exportName: exportName ?? ofGroup ?? attachment?.exportName ?? name,
      holder: holder?.gatewayId ?? null,
      own: (attachment?.uris ?? []).flatMap(placeOf),
      members: group?.members ?? [],
    };
  };
}

/** The group that looks after the volume, which was `knownId` before; undefined when none does. */
async function groupOf(
  session: Session,
  volumeId: string,
  knownId: string | undefined,
): Promise<GroupShown | undefined> {
  const { groups } = await session.call('group.list', {}, { isRepeated: true });
  const likelyFirst = groups.toSorted((a, b) => Number(b.groupId === knownId) - Number(a.groupId === knownId));
  for (const { groupId, volumes } of likelyFirst) {
    if (volumes === 0) continue;
    const group = await session.call('group.show', { group: groupId }, { isRepeated: true });
    if (group.volumes.some((one) => one.volumeId === volumeId)) return group;
  }
  return undefined;
}

/** The place in a URI of NBD; none in another one. */
function placeOf(uri: string): string[] {
  const url = URL.parse(uri);
  if (url === null || !/^nbds?(?:\+unix)?:$/.test(url.protocol)) return [];
  if (url.protocol.endsWith('+unix:')) {
    const socket = url.searchParams.get('socket');
    return socket === null ? [] : [`unix:${socket}`];
  }
  return url.host === '' ? [] : [url.host];
}
