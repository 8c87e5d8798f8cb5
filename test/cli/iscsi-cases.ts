/** Words about iSCSI, of the verbs that take them. */
import * as documents from '../../src/core/cli/documents.ts';
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

const IQN = 'iqn.2026-11.org.example:disk';
const HOST = 'iqn.1993-08.org.debian:01:abc';
const SECRET = 'kumquat-7f3a-1';
const attached = { volume: 'golden', readOnly: false, scratch: false, takeOver: false, ifNotExists: false };

type MakeBad = (why: string, words: readonly string[], code: string, exitCode?: number) => Bad;
interface Cases {
  readonly good: Good[];
  readonly bad: Bad[];
}

/** Of `volume attach`. */
export const attachCases = (bad: MakeBad): Cases => ({
  good: [
    {
      words: ['golden', '--protocol', 'nbd,iscsi', '--target-name', IQN.toUpperCase(), '--initiator', HOST],
      schema: schemas.VolumeAttached,
      input: { ...attached, protocols: ['nbd', 'iscsi'], iscsi: { targetName: IQN, initiators: [HOST] } },
      served: true,
      shows: `iscsiadm -m node -T ${IQN} -p 127.0.0.1:3260 --login`,
    },
    {
      words: ['golden', '--protocol', 'iscsi', '--chap', 'host-1', '--chap-target', 'sgw'],
      schema: schemas.VolumeAttached,
      input: {
        ...attached,
        protocols: ['iscsi'],
        iscsi: {
          chap: { user: 'host-1', secret: SECRET },
          chapTarget: { user: 'sgw', secret: 'persimmon-0b55' },
        },
      },
      env: { SGW_CHAP_SECRET: SECRET, SGW_CHAP_TARGET_SECRET: 'persimmon-0b55' },
      served: true,
      shows: '-AuthenticationType MUTUALCHAP -ChapUsername host-1 -ChapSecret SECRET',
    },
    {
      words: ['golden', '--protocol', 'iscsi', '--initiator', HOST, '--initiator', 'EUI.0123456789ABCDEF'],
      schema: schemas.VolumeAttached,
      input: { ...attached, protocols: ['iscsi'], iscsi: { initiators: [HOST, 'eui.0123456789abcdef'] } },
      served: true,
      shows: 'esxcli iscsi adapter discovery sendtarget add --adapter=vmhba64 --address=127.0.0.1:3260',
    },
  ],
  bad: [
    bad('a protocol that there is not', ['golden', '--protocol', 'nbd,smb'], 'bad-choice'),
    bad('CHAP, and no iSCSI', ['golden', '--chap', 'host-1'], 'flag-alone'),
    bad('an initiator, and no iSCSI', ['golden', '--protocol', 'nbd', '--initiator', HOST], 'flag-alone'),
    bad('a name of a target, and no iSCSI', ['golden', '--target-name', IQN], 'flag-alone'),
    bad('a target that is none', ['golden', '--protocol', 'iscsi', '--target-name', 'disk'], 'bad-iscsi-name'),
    bad('an initiator that is none', ['golden', '--protocol', 'iscsi', '--initiator', 'host'], 'bad-iscsi-name'),
    bad('a user with a blank', ['golden', '--protocol', 'iscsi', '--chap', 'a b'], 'bad-chap-user'),
    bad('a secret that nobody can be asked for', ['golden', '--protocol', 'iscsi', '--chap', 'a'], 'input-needed'),
    bad('a secret of no user', ['golden', '--protocol', 'iscsi', '--chap-secret-file', 'f'], 'flag-alone'),
    bad('a target that proves itself to nobody', ['golden', '--protocol', 'iscsi', '--chap-target', 'a'], 'flag-alone'),
    bad(
      'a file of secrets that is not there',
      ['golden', '--protocol', 'iscsi', '--chap', 'a', '--chap-secret-file', '/nonexistent/s'],
      'system-enoent',
      3,
    ),
    bad(
      'a secret that is empty',
      ['golden', '--protocol', 'iscsi', '--chap', 'a', '--chap-secret-file', '/dev/null'],
      'bad-secret-file',
    ),
  ],
});

/** Of `volume create`. */
export const createCases = (bad: MakeBad): Bad[] => [
  bad('a protocol of what is not attached', ['db', '--size', '1GiB', '--protocol', 'iscsi'], 'flag-alone'),
  bad('a target that is none', ['db', '--size', '1GiB', '--attach', '--target-name', 'x'], 'bad-iscsi-name'),
];

/** Of `configure`. */
export const configureCases = (bad: MakeBad): Cases => ({
  good: [
    {
      words: [
        ...['--iscsi-listen', 'tcp:192.0.2.1:3260', '--iscsi-listen', 'tcp:[2001:db8::1]:3260'],
        ...['--iscsi-portal', 'gateway.example.org:3260', '--iscsi-discovery-chap', 'finder'],
      ],
      schema: documents.Configuration,
      input: {
        iscsiListen: ['tcp:192.0.2.1:3260', 'tcp:[2001:db8::1]:3260'],
        iscsiPortals: ['gateway.example.org:3260'],
        iscsiDiscoveryUser: 'finder',
        iscsiDiscoverySecret: SECRET,
      },
      env: { SGW_CHAP_SECRET: SECRET },
      shows: 'gateway.example.org:3260',
    },
    {
      words: ['--iscsi-listen', 'default', '--iscsi-discovery-chap', 'default'],
      schema: documents.Configuration,
      input: { iscsiListen: ['default'], iscsiDiscoveryUser: null },
      shows: 'iscsiListen, iscsiDiscoveryUser',
    },
  ],
  bad: [
    bad('a user that is none', ['--iscsi-discovery-chap', 'a b'], 'bad-chap-user'),
    bad('a secret that nobody can be asked for', ['--iscsi-discovery-chap', 'finder'], 'input-needed'),
    bad('a secret of no user', ['--iscsi-discovery-secret-file', 'f'], 'flag-alone'),
  ],
});
