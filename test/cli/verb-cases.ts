/** For every verb: words that work, and words with an argument missing, of the wrong type, out of range, not found, in the wrong state. */
import type { TSchema } from 'typebox';
import * as documents from '../../src/core/cli/documents.ts';
import * as schemas from '../../src/core/localapi/schemas.ts';
import { connectCases } from './connect-cases.ts';
import { bandwidthCases } from './bandwidth-cases.ts';
import { costCases } from './cost-cases.ts';
import { groupCases } from './group-cases.ts';
import { storeCopyCases } from './store-copy-cases.ts';
import { ACCOUNT, PASSPHRASE, RECOVERY_CODE } from './fake-care.ts';
import { attachCases, configureCases, createCases } from './iscsi-cases.ts';
import { serviceRunCases } from './service-run-cases.ts';
import { scheduleCases } from './schedule-cases.ts';
import { remoteActivationCases, serviceCases } from './service-cases.ts';
import { settingsCases } from './settings-cases.ts';

export interface Good {
  readonly words: readonly string[];
  /** The schema of the document. */
  readonly schema: TSchema;
  /** What the gateway must have been asked. */
  readonly input?: object;
  /** What people must see. */
  readonly shows: string;
  readonly activated?: boolean;
  readonly served?: boolean;
  readonly env?: Record<string, string>;
}

export interface Bad {
  readonly why: string;
  readonly words: readonly string[];
  readonly code: string;
  readonly exitCode: number;
  readonly activated?: boolean;
}

const bad = (why: string, words: readonly string[], code: string, exitCode = 2, activated = true): Bad => ({
  why,
  words,
  code,
  exitCode,
  activated,
});
const LONG = 'x'.repeat(129);
const FORCED = { snapshot: 'v1', image: '/tmp/no-image', attach: false, resume: false, force: true };
const notActivated = (...words: string[]): Bad => bad('before activation', words, 'not-activated', 4, false);
const withoutDaemon = (...words: string[]): Bad => bad('no daemon', words, 'daemon-needed', 5);
const unknownVolume = (...words: string[]): Bad => bad('no such volume', words, 'volume-not-found', 3);
const unknownSnapshot = (...words: string[]): Bad => bad('no such snapshot', words, 'snapshot-not-found', 3);

export const VERBS: Record<string, { good: Good[]; bad: Bad[] }> = {
  activate: {
    good: [
      ...remoteActivationCases,
      {
        words: ['--name', 'lab', '--mode', 'shadowing', '--store', '/srv/store', '--region', 'home'],
        schema: schemas.ActivationDocument,
        input: { name: 'lab', mode: 'shadowing', store: '/srv/store', region: 'home', ifNotExists: false },
        shows: 'sgw-01234567',
        activated: false,
      },
      {
        words: ['--if-not-exists'],
        schema: schemas.ActivationDocument,
        input: { ifNotExists: true },
        shows: 'sgw-01234567',
      },
      {
        words: ['--name', 'lab', '--encrypt'],
        schema: schemas.ActivationDocument,
        input: { name: 'lab', encrypt: true, ifNotExists: false },
        shows: RECOVERY_CODE,
        activated: false,
        env: { SGW_PASSPHRASE: PASSPHRASE },
      },
    ],
    bad: [
      bad('a name that is empty', ['--name', ''], 'bad-name', 2, false),
      bad('a name that is too long', ['--name', LONG], 'bad-name', 2, false),
      bad('an empty store', ['--store', ''], 'bad-path', 2, false),
      bad('an unknown mode', ['--mode', 'mirrored'], 'bad-choice', 2, false),
      bad('a flag without a value', ['--store'], 'missing-value', 2, false),
      bad('a surplus argument', ['lab'], 'unexpected-argument', 2, false),
      bad('activated already', ['--name', 'lab'], 'already-activated', 4),
      bad('a key that nobody can be asked for', ['--encrypt'], 'key-missing', 2, false),
      bad('a key file that is no file', ['--encrypt', '--key-file', ''], 'bad-path', 2, false),
      bad('no passphrase file', ['--encrypt', '--passphrase-file', '/nonexistent/p'], 'system-enoent', 3, false),
      bad('two secrets', ['--encrypt', '--passphrase-file', 'p', '--key-file', 'k'], 'one-of', 2, false),
      bad('a recovery file without a recovery code', ['--recovery-file', '/tmp/r'], 'flag-alone', 2, false),
      bad('a recovery file that is there', ['--encrypt', '--recovery-file', '/dev/null'], 'file-exists', 4, false),
    ],
  },
  deactivate: {
    good: [{ words: ['--yes'], schema: schemas.DeactivationDocument, input: {}, shows: 'lab (sgw-01234567)' }],
    bad: [
      bad('no confirmation', [], 'confirmation-needed'),
      bad('a surplus argument', ['lab', '--yes'], 'unexpected-argument'),
      notActivated('--yes'),
    ],
  },
  status: {
    good: [{ words: [], schema: schemas.StatusDocument, input: {}, shows: 'lab (sgw-01234567), cached' }],
    bad: [
      bad('a surplus argument', ['golden'], 'unexpected-argument'),
      bad('an unknown flag', ['--watch'], 'unknown-flag'),
    ],
  },
  configure: {
    good: [
      { words: ['--name', 'lab-2'], schema: documents.Configuration, input: { name: 'lab-2' }, shows: 'lab-2' },
      {
        words: ['--cache', '20GiB', '--buffer', 'default', '--listen', 'tcp:127.0.0.1:10809', '--list-exports', 'no'],
        schema: documents.Configuration,
        input: {
          listen: ['tcp:127.0.0.1:10809'],
          listExports: false,
          cacheBytes: 20 * 2 ** 30,
          bufferBytes: null,
        },
        shows: '20 GiB',
      },
      {
        words: ['--peer-listen', '192.0.2.1:7070', '--on-takeover', '/usr/local/sbin/move'],
        schema: documents.Configuration,
        input: { peerListen: '192.0.2.1:7070', onTakeover: '/usr/local/sbin/move' },
        shows: '192.0.2.1:7070',
      },
      {
        words: ['--peer-listen', 'default', '--on-takeover', 'default'],
        schema: documents.Configuration,
        input: { peerListen: null, onTakeover: null },
        shows: 'a port of this machine alone',
      },
      ...configureCases(bad).good,
    ],
    bad: [
      ...configureCases(bad).bad,
      bad('a name with a control character', ['--name', 'a\tb'], 'bad-name'),
      bad('an unknown mode', ['--mode', 'x'], 'bad-choice'),
      bad('a cache of no size', ['--cache', 'large'], 'bad-size'),
      bad('no program', ['--on-takeover', ''], 'bad-path'),
      bad('an interval that is none', ['--seal-interval', 'soon'], 'bad-duration'),
      bad('an unknown kind of TLS', ['--tls', 'maybe'], 'bad-choice'),
      bad('an unknown output', ['--output', 'xml'], 'bad-choice'),
      bad('an unknown colour setting', ['--color', 'always'], 'bad-choice'),
      notActivated('--name', 'lab'),
    ],
  },
  demo: {
    good: [],
    bad: [
      bad('a file that does not exist', ['/nonexistent/disk.img'], 'system-enoent', 3),
      bad('two files', ['a', 'b'], 'unexpected-argument'),
    ],
  },
  'volume create': {
    good: [
      {
        words: ['db', '--size', '10GiB', '--tag', 'env=test', '--tag', 'team=', '--client-token', 't1'],
        schema: schemas.VolumeCreated,
        input: {
          name: 'db',
          sizeBytes: 10 * 2 ** 30,
          tags: { env: 'test', team: '' },
          ifNotExists: false,
          clientToken: 't1',
        },
        shows: '10 GiB',
      },
      {
        words: ['build', '--from-snapshot', 'v1', '--if-not-exists'],
        schema: schemas.VolumeCreated,
        input: { name: 'build', fromSnapshot: 'v1', tags: {}, ifNotExists: true },
        shows: 'cloned from',
      },
    ],
    bad: [
      bad('no name', [], 'input-needed'),
      bad('no size', ['db'], 'size-or-snapshot'),
      ...createCases(bad),
      bad('a size that is none', ['db', '--size', 'big'], 'bad-size'),
      bad('a negative size', ['db', '--size', '-5'], 'bad-size'),
      bad('a size of nothing', ['db', '--size', '0'], 'bad-size'),
      bad('a name with a slash', ['a/b', '--size', '1GiB'], 'bad-name'),
      bad('a size beyond all integers', ['db', '--size', '99999999PiB'], 'bad-size'),
      bad('a name like an id', ['vol-0123', '--size', '1GiB'], 'bad-name'),
      bad('a name that is too long', [LONG, '--size', '1GiB'], 'bad-name'),
      bad('a tag without a value', ['db', '--size', '1GiB', '--tag', 'env'], 'bad-tag'),
      bad('a tag twice', ['db', '--size', '1GiB', '--tag', 'a=1', '--tag', 'a=2'], 'bad-tag'),
      bad('a token with blanks', ['db', '--size', '1GiB', '--client-token', 'a b'], 'bad-client-token'),
      bad('a name that is taken', ['golden', '--size', '1GiB'], 'volume-exists', 4),
      unknownSnapshot('db', '--from-snapshot', 'nope'),
      notActivated('db', '--size', '1GiB'),
    ],
  },
  'volume import': {
    good: [
      {
        words: ['/srv/golden.img', '--name', 'new', '--format', 'raw', '--take-over'],
        schema: schemas.ImportDocument,
        input: { file: '/srv/golden.img', name: 'new', format: 'raw', takeOver: true, ifNotExists: false },
        shows: '4 KiB',
      },
      {
        words: ['/srv/golden.img', '--into', 'golden', '--timeout', '5m'],
        schema: schemas.ImportDocument,
        input: { file: '/srv/golden.img', into: 'golden', takeOver: false, ifNotExists: false },
        shows: 'golden (vol-',
      },
    ],
    bad: [
      bad('no file', ['--name', 'new'], 'missing-argument'),
      bad('an empty file', ['', '--name', 'new'], 'bad-path'),
      bad('neither name nor volume', ['a.img'], 'one-of'),
      bad('both name and volume', ['a.img', '--name', 'a', '--into', 'golden'], 'one-of'),
      bad('an unknown format', ['a.img', '--name', 'a', '--format', 'zip'], 'bad-choice'),
      bad('a timeout that is none', ['a.img', '--name', 'a', '--timeout', 'soon'], 'bad-duration'),
      bad('a timeout beyond all timers', ['a.img', '--name', 'a', '--timeout', '99d'], 'bad-duration'),
      bad('a file that does not exist', ['missing', '--name', 'a'], 'system-enoent', 3),
      bad('a name that is taken', ['a.img', '--name', 'golden'], 'volume-exists', 4),
      bad('longer than the timeout', ['endless', '--name', 'a', '--timeout', '20ms'], 'deadline-passed', 9),
      unknownVolume('a.img', '--into', 'nope'),
      notActivated('a.img', '--name', 'a'),
    ],
  },
  'volume list': {
    good: [{ words: [], schema: schemas.VolumeList, input: { deleted: false }, shows: 'golden' }],
    bad: [bad('a surplus argument', ['golden'], 'unexpected-argument'), notActivated()],
  },
  'volume show': {
    good: [{ words: ['golden'], schema: schemas.VolumeDocument, input: { volume: 'golden' }, shows: 'v1, v2' }],
    bad: [
      bad('no volume', [], 'missing-argument'),
      bad('an empty reference', [''], 'bad-reference'),
      bad('a reference that is too long', [LONG], 'bad-reference'),
      unknownVolume('nope'),
      notActivated('golden'),
    ],
  },
  'volume resize': {
    good: [
      {
        words: ['golden', '--size', '1TB'],
        schema: schemas.VolumeSummary,
        input: { volume: 'golden', sizeBytes: 1e12, shrink: false },
        shows: '931 GiB',
      },
    ],
    bad: [
      bad('no volume', ['--size', '1GiB'], 'missing-argument'),
      bad('no size', ['golden'], 'missing-flag'),
      bad('a size that is none', ['golden', '--size', '1 parsec'], 'bad-size'),
      bad('smaller without --shrink', ['golden', '--size', '4KiB'], 'would-shrink'),
      bad('smaller without confirmation', ['golden', '--size', '4KiB', '--shrink'], 'confirmation-needed'),
      unknownVolume('nope', '--size', '1GiB'),
      notActivated('golden', '--size', '1GiB'),
    ],
  },
  'volume attach': {
    good: [
      {
        words: ['golden', '--ack', 'store', '--export-name', 'disk0'],
        schema: schemas.VolumeAttached,
        input: {
          volume: 'golden',
          readOnly: false,
          scratch: false,
          takeOver: false,
          ifNotExists: false,
          exportName: 'disk0',
          ack: 'store',
        },
        served: true,
        shows: 'nbd+unix:///disk0?socket=/home/fake/nbd.sock',
      },
      {
        words: ['golden'],
        schema: schemas.VolumeAttached,
        served: true,
        shows: 'nbd-client -unix /home/fake/nbd.sock',
      },
      ...attachCases(bad).good,
    ],
    bad: [
      ...attachCases(bad).bad,
      bad('no volume', [], 'missing-argument'),
      bad('an ack class that is none', ['golden', '--ack', 'disk'], 'bad-choice'),
      bad('an export name with a blank', ['golden', '--export-name', 'a b'], 'bad-name'),
      withoutDaemon('golden'),
    ],
  },
  'volume connect': connectCases(bad),
  'volume detach': {
    good: [
      {
        words: ['golden', '--if-exists', '--no-drain'],
        schema: schemas.VolumeDetached,
        input: { volume: 'golden', drain: false, force: false, ifExists: true },
        served: true,
        shows: 'nothing was detached',
      },
    ],
    bad: [bad('no volume', [], 'missing-argument'), withoutDaemon('golden')],
  },
  ...settingsCases({ bad, unknownVolume }),
  'recovery-point list': {
    good: [
      {
        words: ['golden'],
        schema: schemas.RecoveryPointList,
        input: { volume: 'golden' },
        shows: '2026-11-22T23:45:00.000Z',
      },
    ],
    bad: [bad('no volume', [], 'missing-argument'), unknownVolume('nope')],
  },
  ...bandwidthCases(bad, notActivated),
  ...scheduleCases({ bad, notActivated, unknownVolume }),
  ...groupCases({ bad, notActivated, withoutDaemon, unknownVolume }),
  ...storeCopyCases(bad),
  'volume rename': {
    good: [
      {
        words: ['golden', 'silver'],
        schema: schemas.VolumeSummary,
        input: { volume: 'golden', name: 'silver' },
        shows: 'silver',
      },
    ],
    bad: [
      bad('no volume and no name', [], 'missing-argument'),
      bad('no name', ['golden'], 'missing-argument'),
      bad('a name like an id', ['golden', 'snap-00'], 'bad-name'),
      bad('a name that is taken', ['golden', 'other'], 'volume-exists', 4),
      unknownVolume('nope', 'silver'),
      notActivated('golden', 'silver'),
    ],
  },
  'volume delete': {
    good: [
      {
        words: ['golden', '--yes'],
        schema: schemas.DeletedDocument,
        input: { volume: 'golden', ifExists: false, takeOver: false },
        shows: 'Deleted volume golden',
      },
      {
        words: ['nope', '-y', '--if-exists'],
        schema: schemas.DeletedDocument,
        input: { volume: 'nope', ifExists: true, takeOver: false },
        shows: 'no such volume',
      },
      {
        words: ['golden', '--yes', '--take-over'],
        schema: schemas.DeletedDocument,
        input: { volume: 'golden', ifExists: false, takeOver: true },
        shows: 'Until 2026-11-29 23:45 UTC, `sgw volume undelete golden` brings it back.',
      },
      {
        words: ['golden', '--dry-run'],
        schema: schemas.DeletedDocument,
        input: { volume: 'golden', ifExists: false, takeOver: false, preview: true },
        shows: 'After that, `sgw store gc` frees 4 KiB in the store.',
      },
      {
        words: ['nope', '--dry-run', '--if-exists'],
        schema: schemas.DeletedDocument,
        input: { volume: 'nope', ifExists: true, takeOver: false, preview: true },
        shows: 'nothing would be deleted',
      },
    ],
    bad: [
      bad('no volume', ['--yes'], 'missing-argument'),
      bad('no confirmation', ['golden'], 'confirmation-needed'),
      unknownVolume('nope', '--yes'),
      unknownVolume('nope', '--dry-run'),
      notActivated('golden', '--yes'),
    ],
  },
  'volume undelete': {
    good: [{ words: ['gone'], schema: schemas.VolumeSummary, input: { volume: 'gone' }, shows: 'available' }],
    bad: [
      bad('no volume', [], 'missing-argument'),
      bad('an empty reference', [''], 'bad-reference'),
      bad('a reference that is too long', [LONG], 'bad-reference'),
      unknownVolume('nope'),
      unknownVolume('golden'),
      notActivated('gone'),
    ],
  },
  'volume map': {
    good: [
      { words: ['golden'], schema: schemas.MapDocument, input: { volume: 'golden' }, shows: '█#·' },
      { words: ['golden', '--extents'], schema: schemas.MapDocument, input: { volume: 'golden' }, shows: 'shared' },
    ],
    bad: [bad('no volume', [], 'missing-argument'), unknownVolume('nope'), notActivated('golden')],
  },
  'volume verify': {
    good: [
      {
        words: ['golden', '--timeout', '1h'],
        schema: schemas.VerifyDocument,
        input: { volume: 'golden' },
        shows: 'ok',
      },
    ],
    bad: [
      bad('no volume', [], 'missing-argument'),
      bad('a timeout that is none', ['golden', '--timeout', '-1s'], 'bad-duration'),
      unknownVolume('nope'),
      notActivated('golden'),
    ],
  },
  'snapshot create': {
    good: [
      {
        words: [
          'golden',
          '--name',
          'v3',
          '--description',
          'before the upgrade',
          '--wait',
          '--timeout',
          '5s',
          '--tag',
          'a=b',
        ],
        schema: schemas.SnapshotCreated,
        input: {
          volume: 'golden',
          name: 'v3',
          description: 'before the upgrade',
          tags: { a: 'b' },
          ifNotExists: false,
        },
        shows: 'before the upgrade',
      },
      {
        words: ['golden'],
        schema: schemas.SnapshotCreated,
        input: { volume: 'golden', tags: {}, ifNotExists: false },
        shows: 'golden-2026',
      },
    ],
    bad: [
      bad('no volume', [], 'missing-argument'),
      bad('a name that begins with a blank', ['golden', '--name', ' x'], 'bad-name'),
      bad('a tag without a key', ['golden', '--tag', '=x'], 'bad-tag'),
      bad('a timeout that is none', ['golden', '--timeout', 'x'], 'bad-duration'),
      bad('a name that is taken', ['golden', '--name', 'v1'], 'snapshot-exists', 4),
      unknownVolume('nope'),
      notActivated('golden'),
    ],
  },
  'snapshot list': {
    good: [
      { words: [], schema: schemas.SnapshotList, input: {}, shows: 'v1' },
      { words: ['--volume', 'other'], schema: schemas.SnapshotList, input: { volume: 'other' }, shows: 'o1' },
      { words: ['--exportable'], schema: schemas.SnapshotList, input: { exportable: true }, shows: 'v1' },
    ],
    bad: [
      bad('an empty volume', ['--volume', ''], 'bad-reference'),
      bad('a surplus argument', ['golden'], 'unexpected-argument'),
      unknownVolume('--volume', 'nope'),
      notActivated(),
    ],
  },
  'snapshot show': {
    good: [{ words: ['v1'], schema: schemas.SnapshotDocument, input: { snapshot: 'v1' }, shows: 'written by' }],
    bad: [bad('no snapshot', [], 'missing-argument'), unknownSnapshot('nope'), notActivated('v1')],
  },
  'snapshot rename': {
    good: [
      {
        words: ['v1', 'release'],
        schema: schemas.SnapshotSummary,
        input: { snapshot: 'v1', name: 'release' },
        shows: 'release',
      },
    ],
    bad: [
      bad('no name', ['v1'], 'missing-argument'),
      bad('a name that is empty', ['v1', ''], 'bad-name'),
      bad('a name that is taken', ['v1', 'v2'], 'snapshot-exists', 4),
      unknownSnapshot('nope', 'x'),
      notActivated('v1', 'x'),
    ],
  },
  'snapshot diff': {
    good: [{ words: ['v1', 'v2'], schema: schemas.DiffDocument, input: { from: 'v1', to: 'v2' }, shows: 'changed' }],
    bad: [
      bad('no snapshots', [], 'missing-argument'),
      bad('one snapshot', ['v1'], 'missing-argument'),
      bad('three snapshots', ['v1', 'v2', 'o1'], 'unexpected-argument'),
      bad('snapshots of unrelated volumes', ['v1', 'o1'], 'unrelated-snapshots'),
      unknownSnapshot('v1', 'nope'),
      notActivated('v1', 'v2'),
    ],
  },
  'snapshot export': {
    good: [
      {
        words: ['v1', '/tmp/out.img', '--format', 'qcow2', '--force', '--timeout', '1h'],
        schema: schemas.ExportDocument,
        input: { snapshot: 'v1', path: '/tmp/out.img', force: true, format: 'qcow2' },
        shows: '/tmp/out.img (qcow2)',
      },
      {
        words: ['v1', '/tmp/out.vmdk'],
        schema: schemas.ExportDocument,
        input: { snapshot: 'v1', path: '/tmp/out.vmdk', force: false, format: 'vmdk' },
        shows: '/tmp/out.vmdk (vmdk)',
      },
      {
        words: ['v1', '/tmp/out.qcow2', '--format', 'raw'],
        schema: schemas.ExportDocument,
        input: { snapshot: 'v1', path: '/tmp/out.qcow2', force: false, format: 'raw' },
        shows: '/tmp/out.qcow2 (raw)',
      },
    ],
    bad: [
      bad('nothing', [], 'input-needed'),
      bad('no file', ['v1'], 'input-needed'),
      bad('an empty file', ['v1', ''], 'bad-path'),
      bad('an unknown format', ['v1', 'out.img', '--format', 'iso'], 'bad-choice'),
      bad('a file that exists', ['v1', 'existing.img'], 'file-exists', 4),
      bad('a timeout that is none', ['v1', 'out.img', '--timeout', ''], 'bad-duration'),
      unknownSnapshot('nope', 'out.img'),
      notActivated('v1', 'out.img'),
    ],
  },
  'snapshot restore': {
    good: [
      {
        words: ['v1', '--image', '/tmp/no-image', '--rate', '1MiB/s', '--force'],
        schema: schemas.RestoreDocument,
        input: { ...FORCED, snapshotFirst: true, rateBytes: 2 ** 20 },
        shows: 'kept in snapshot held-before-restore of volume held',
      },
    ],
    bad: [
      bad('nothing', [], 'missing-argument'),
      bad('no image', ['v1'], 'missing-flag'),
      bad('an empty image', ['v1', '--image', ''], 'bad-path'),
      bad('no rate', ['v1', '--image', 'a.img', '--rate', '0'], 'bad-rate'),
      bad('no confirmation', ['v1', '--image', '/etc/passwd', '--force'], 'confirmation-needed'),
      bad('nothing to resume', ['v1', '--image', 'a.img', '--resume'], 'restore-not-found', 3),
      withoutDaemon('v1', '--image', 'a.img', '--attach'),
      unknownSnapshot('nope', '--image', 'a.img'),
      notActivated('v1', '--image', 'a.img'),
    ],
  },
  'snapshot import': {
    good: [
      {
        words: ['/srv/a.img', '--name', 'v9', '--volume-name', 'nine', '--description', 'd'],
        schema: schemas.SnapshotCreated,
        input: { file: '/srv/a.img', name: 'v9', volumeName: 'nine', description: 'd', tags: {}, ifNotExists: false },
        shows: 'nine (vol-',
      },
    ],
    bad: [
      bad('no file', ['--name', 'v9'], 'missing-argument'),
      bad('no name', ['a.img'], 'missing-flag'),
      bad('a volume name like an id', ['a.img', '--name', 'v9', '--volume-name', 'vol-1'], 'bad-name'),
      bad('a file that does not exist', ['missing', '--name', 'v9'], 'system-enoent', 3),
      bad('a name that is taken', ['a.img', '--name', 'v1'], 'snapshot-exists', 4),
      notActivated('a.img', '--name', 'v9'),
    ],
  },
  'snapshot delete': {
    good: [
      {
        words: ['v1', '--yes'],
        schema: schemas.DeletedDocument,
        input: { snapshot: 'v1', ifExists: false },
        shows: 'Deleted snapshot v1',
      },
      { words: ['nope', '--yes', '--if-exists'], schema: schemas.DeletedDocument, shows: 'no such snapshot' },
      {
        words: ['v1', '--dry-run'],
        schema: schemas.DeletedDocument,
        input: { snapshot: 'v1', ifExists: false, preview: true },
        shows: 'This would delete snapshot v1',
      },
    ],
    bad: [
      bad('no snapshot', ['--yes'], 'missing-argument'),
      bad('no confirmation', ['v1'], 'confirmation-needed'),
      unknownSnapshot('nope', '--yes'),
      unknownSnapshot('nope', '--dry-run'),
      notActivated('v1', '--yes'),
    ],
  },
  'snapshot share': {
    good: [
      {
        words: ['v1', '--with', ACCOUNT],
        schema: schemas.SnapshotSharing,
        input: { snapshot: 'v1', accountId: ACCOUNT },
        shows: `${ACCOUNT} (by ${ACCOUNT})`,
      },
    ],
    bad: [
      bad('no snapshot', ['--with', ACCOUNT], 'missing-argument'),
      bad('no account', ['v1'], 'missing-flag'),
      bad('an account that is no id', ['v1', '--with', 'research'], 'bad-account'),
      bad('an account that does not exist', ['v1', '--with', '999999999999'], 'account-not-found', 3),
      unknownSnapshot('nope', '--with', ACCOUNT),
      notActivated('v1', '--with', ACCOUNT),
    ],
  },
  'snapshot unshare': {
    good: [
      {
        words: ['v1', '--with', ACCOUNT],
        schema: schemas.SnapshotSharing,
        input: { snapshot: 'v1', accountId: ACCOUNT },
        shows: 'no, it was so already',
      },
    ],
    bad: [
      bad('no snapshot', ['--with', ACCOUNT], 'missing-argument'),
      bad('no account', ['v1'], 'missing-flag'),
      bad('an account that is no id', ['v1', '--with', '12'], 'bad-account'),
      unknownSnapshot('nope', '--with', ACCOUNT),
      notActivated('v1', '--with', ACCOUNT),
    ],
  },
  'snapshot verify': {
    good: [{ words: ['v1'], schema: schemas.VerifyDocument, input: { snapshot: 'v1' }, shows: 'ok' }],
    bad: [bad('no snapshot', [], 'missing-argument'), unknownSnapshot('nope'), notActivated('v1')],
  },
  'store check': {
    good: [
      { words: [], schema: schemas.StoreCheckDocument, input: {}, shows: 'can be written to' },
      {
        words: ['--store', '/srv/s'],
        schema: schemas.StoreCheckDocument,
        input: { store: '/srv/s' },
        shows: '/srv/s',
        activated: false,
      },
    ],
    bad: [bad('a flag without a value', ['--store'], 'missing-value'), notActivated()],
  },
  ...costCases(bad, notActivated),
  'store gc': {
    good: [
      { words: [], schema: schemas.GcDocument, input: {}, shows: '4 KiB in 2 objects, leaving 1 empty tombstone' },
      {
        words: ['--dry-run', '--grace', '0'],
        schema: schemas.GcDocument,
        input: { graceMs: 0, preview: true },
        shows: 'would remove:',
      },
      { words: ['--grace', '2h'], schema: schemas.GcDocument, input: { graceMs: 7_200_000 }, shows: 'removed:' },
      {
        words: ['--grace', '0', '-y'],
        schema: schemas.GcDocument,
        input: { graceMs: 0 },
        shows: '2 volumes, 1 deleted',
      },
    ],
    bad: [
      bad('a grace period that is none', ['--grace', 'soon'], 'bad-duration'),
      bad('a negative grace period', ['--grace', '-1h'], 'bad-duration'),
      bad('a short grace period without confirmation', ['--grace', '59m'], 'confirmation-needed'),
      bad('a surplus argument', ['x'], 'unexpected-argument'),
      notActivated(),
    ],
  },
  'store scrub': {
    good: [
      { words: [], schema: schemas.ScrubDocument, input: { acceptOlder: false }, shows: '1 MiB in 23 objects' },
      { words: ['--accept-older'], schema: schemas.ScrubDocument, input: { acceptOlder: true }, shows: 'ok' },
    ],
    bad: [
      bad('a timeout that is none', ['--timeout', 'x'], 'bad-duration'),
      bad('a surplus argument', ['golden'], 'unexpected-argument'),
      notActivated(),
    ],
  },
  'store rekey': {
    good: [
      {
        words: [],
        schema: schemas.RekeyDocument,
        input: { recoveryKit: false },
        shows: 'a passphrase, set 2026-11-22 23:45 UTC',
        env: { SGW_NEW_PASSPHRASE: 'eight or more' },
      },
      { words: ['--recovery-kit'], schema: schemas.RekeyDocument, input: { recoveryKit: true }, shows: RECOVERY_CODE },
    ],
    bad: [
      bad('no new secret', [], 'key-missing'),
      bad('an empty path', ['--new-key-file', ''], 'bad-path'),
      bad('a file that is not there', ['--new-passphrase-file', '/nonexistent/p'], 'system-enoent', 3),
      bad('a folder that is not there', ['--new-key-file', '/nonexistent/k'], 'system-enoent', 3),
      bad('two new secrets', ['--new-passphrase-file', 'p', '--new-key-file', 'k'], 'one-of'),
      bad('an empty file', ['--new-passphrase-file', '/dev/null'], 'bad-secret-file'),
      bad('a file without end', ['--new-passphrase-file', '/dev/zero'], 'bad-secret-file'),
      bad('a recovery file without a recovery code', ['--recovery-file', '/tmp/r'], 'flag-alone'),
      notActivated('--recovery-kit'),
    ],
  },
  // What starts, stops and reads the log of a real daemon is in test/cli/gateway.test.ts.
  'gateway run': {
    good: [],
    bad: [
      bad('an address of another machine', ['--metrics-listen', '0.0.0.0:9464'], 'bad-listen'),
      bad('a port that is none', ['--metrics-listen', '70000'], 'bad-listen'),
      bad('an unknown level', ['--log-level', 'loud'], 'bad-choice'),
      bad('a timeout that is none', ['--drain-timeout', 'soon'], 'bad-duration'),
      bad('a surplus argument', ['golden'], 'unexpected-argument'),
      notActivated(),
    ],
  },
  'gateway start': {
    good: [],
    bad: [
      bad('a port that is none', ['--metrics-listen', 'x'], 'bad-listen'),
      bad('a timeout that is none', ['--timeout', 'soon'], 'bad-duration'),
      bad('a surplus argument', ['golden'], 'unexpected-argument'),
      notActivated(),
    ],
  },
  'gateway stop': {
    good: [],
    bad: [bad('a timeout that is none', ['--timeout', 'soon'], 'bad-duration')],
  },
  'gateway restart': {
    good: [],
    bad: [bad('a timeout that is none', ['--timeout', 'soon'], 'bad-duration'), notActivated()],
  },
  'gateway reload': {
    good: [
      { words: [], schema: schemas.GatewayReloadDocument, input: {}, served: true, shows: 'Nothing is different' },
    ],
    bad: [bad('a surplus argument', ['x'], 'unexpected-argument'), withoutDaemon()],
  },
  'gateway show': {
    good: [{ words: [], schema: schemas.GatewayDocument, input: {}, served: true, shows: 'golden' }],
    bad: [bad('a surplus argument', ['x'], 'unexpected-argument'), withoutDaemon()],
  },
  'gateway top': {
    good: [
      {
        words: ['--once', '--interval', '100ms'],
        schema: documents.GatewayTop,
        input: {},
        served: true,
        shows: 'EXPOSED',
      },
    ],
    bad: [bad('an interval that is none', ['--interval', 'x'], 'bad-duration'), withoutDaemon('--once')],
  },
  'gateway logs': {
    good: [],
    bad: [bad('a number that is none', ['--lines', 'x'], 'usage'), bad('no log', [], 'no-log', 3)],
  },
  'service account create': {
    good: [
      {
        words: ['research', '--id', '000000000007', '--client-token', 't'],
        schema: schemas.AccountCreated,
        input: { name: 'research', accountId: '000000000007', ifNotExists: false, clientToken: 't' },
        shows: '000000000007',
      },
      {
        words: ['default', '--if-not-exists'],
        schema: schemas.AccountCreated,
        input: { name: 'default', ifNotExists: true },
        shows: ACCOUNT,
      },
    ],
    bad: [
      bad('no name', [], 'missing-argument'),
      bad('a name with a blank', ['my lab'], 'bad-name'),
      bad('an id that is too short', ['research', '--id', '2'], 'bad-account'),
      bad('an id that holds letters', ['research', '--id', '00000000000a'], 'bad-account'),
      bad('a token with blanks', ['research', '--client-token', 'a b'], 'bad-client-token'),
      bad('an account that exists', ['research', '--id', ACCOUNT], 'account-exists', 4),
      notActivated('research'),
    ],
  },
  'service run': serviceRunCases(bad),
  'service account list': {
    good: [{ words: [], schema: schemas.AccountList, input: {}, shows: 'default' }],
    bad: [bad('a surplus argument', ['x'], 'unexpected-argument'), notActivated()],
  },
  ...serviceCases(bad),
};
