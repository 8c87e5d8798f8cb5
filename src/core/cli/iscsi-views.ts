/** How an export over iSCSI looks to people: its names, who uses it, and lines that connect to it as they are. */
import { formatSize, printable, shellWord } from '../kit/index.ts';
import type { AttachmentDocument } from '../localapi/index.ts';
import { formatTime, plural } from './tables.ts';

type Iscsi = NonNullable<AttachmentDocument['iscsi']>;
type Row = [string, string];

/** The target, and who may log in to it. */
export function iscsiFields({ iscsi }: AttachmentDocument): Row[] {
  if (iscsi === null) return [];
  const { targetName, portals, chapUser, chapTargetUser, initiators } = iscsi;
  const mutual = chapTargetUser === null ? '' : `; the target as ${chapTargetUser}`;
  return [
    ['target', targetName],
    ['portals', portals.join(', ')],
    ['log in', chapUser === null ? 'without authentication' : `by CHAP as ${chapUser}${mutual}`],
    ...initiators.map((name): Row => ['initiator', name]),
  ];
}

/** Who is connected, over whatever. */
export function clientFields({ clients, connected }: AttachmentDocument): Row[] {
  return [
    ['clients', clients === 0 ? 'none' : String(clients)],
    ...connected.map(({ protocol, remotes, initiator, user, since, requests, receivedBytes, sentBytes }): Row => {
      const who = [initiator, user === null ? null : `as ${user}`].filter((one) => one !== null).map(printable);
      const amounts = `${plural(requests, 'request')}, ${formatSize(receivedBytes)} received, ${formatSize(sentBytes)} sent`;
      return [protocol, [remotes.join(' and '), ...who, `since ${formatTime(since)}`, amounts].join(', ')];
    }),
  ];
}

/** Ready lines for initiators, by program. `SECRET` stands for what is never shown. */
export function iscsiLines({ iscsi, uris, readOnly }: AttachmentDocument): Row[] {
  const portal = iscsi?.portals[0];
  if (iscsi === null || portal === undefined) return [];
  const uri = uris.find((one) => one.startsWith('iscsi:')) ?? '';
  return [
    ...named('iscsiadm', openIscsiLines(iscsi, portal)),
    ...named('PowerShell', windowsLines(iscsi, portal)),
    ...named('ESXi', esxiLines(iscsi, portal)),
    ...named('qemu', [qemuLine(iscsi, uri, readOnly)]),
  ];
}

const named = (program: string, lines: readonly string[]): Row[] => lines.map((line) => [program, line]);

function openIscsiLines({ targetName, chapUser, chapTargetUser }: Iscsi, portal: string): string[] {
  const node = `iscsiadm -m node -T ${targetName} -p ${portal}`;
  const set = (name: string, value: string): string => `${node} -o update -n node.session.auth.${name} -v ${value}`;
  const oneWay =
    chapUser === null ? [] : [set('authmethod', 'CHAP'), set('username', chapUser), set('password', 'SECRET')];
  const mutual =
    chapTargetUser === null ? [] : [set('username_in', chapTargetUser), set('password_in', 'TARGET-SECRET')];
  return [`iscsiadm -m discovery -t sendtargets -p ${portal}`, ...oneWay, ...mutual, `${node} --login`];
}

function windowsLines({ targetName, chapUser, chapTargetUser }: Iscsi, portal: string): string[] {
  const at = portal.lastIndexOf(':');
  const address = portal.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const type = chapTargetUser === null ? 'ONEWAYCHAP' : 'MUTUALCHAP';
  const chap = chapUser === null ? '' : ` -AuthenticationType ${type} -ChapUsername ${chapUser} -ChapSecret SECRET`;
  return [
    ...(chapTargetUser === null ? [] : ['Set-IscsiChapSecret -ChapSecret TARGET-SECRET']),
    `New-IscsiTargetPortal -TargetPortalAddress ${address} -TargetPortalPortNumber ${portal.slice(at + 1)}`,
    `Connect-IscsiTarget -NodeAddress ${targetName} -IsPersistent $true${chap}`,
  ];
}

function esxiLines({ chapUser, chapTargetUser }: Iscsi, portal: string): string[] {
  const chap = (direction: string, user: string, secret: string): string =>
    `esxcli iscsi adapter auth chap set --adapter=vmhba64 --direction=${direction} --level=preferred --authname=${user} --secret=${secret}`;
  return [
    'esxcli iscsi software set --enabled=true',
    ...(chapUser === null ? [] : [chap('uni', chapUser, 'SECRET')]),
    ...(chapTargetUser === null ? [] : [chap('mutual', chapTargetUser, 'TARGET-SECRET')]),
    `esxcli iscsi adapter discovery sendtarget add --adapter=vmhba64 --address=${portal}`,
    'esxcli storage core adapter rescan --adapter=vmhba64',
  ];
}

function qemuLine({ chapUser }: Iscsi, uri: string, readOnly: boolean): string {
  const chap =
    chapUser === null ? '' : ` -object secret,id=chap,file=SECRET-FILE -iscsi user=${chapUser},password-secret=chap`;
  const drive = `file=${printable(uri)},format=raw,if=virtio${readOnly ? ',readonly=on' : ''}`;
  return `qemu-system-x86_64${chap} -drive ${shellWord(drive)}`;
}
