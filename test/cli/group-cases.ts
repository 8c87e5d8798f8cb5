/** Words about groups of gateways. */
import * as schemas from '../../src/core/localapi/schemas.ts';
import type { Bad, Good } from './verb-cases.ts';

interface Makers {
  readonly bad: (why: string, words: readonly string[], code: string, exitCode?: number) => Bad;
  readonly notActivated: (...words: string[]) => Bad;
  readonly withoutDaemon: (...words: string[]) => Bad;
  readonly unknownVolume: (...words: string[]) => Bad;
}

export const groupCases = ({
  bad,
  notActivated,
  withoutDaemon,
  unknownVolume,
}: Makers): Record<string, { good: Good[]; bad: Bad[] }> => {
  const unknownGroup = (...words: string[]): Bad => bad('no such group', words, 'group-not-found', 3);
  return {
    'group create': {
      good: [
        {
          words: ['barn', '--client-token', 't-1'],
          schema: schemas.GroupCreated,
          input: { name: 'barn', ifNotExists: false, clientToken: 't-1' },
          shows: 'barn (grp-',
        },
        {
          words: ['rack', '--if-not-exists'],
          schema: schemas.GroupCreated,
          input: { name: 'rack', ifNotExists: true },
          shows: 'before',
        },
      ],
      bad: [
        bad('no name', [], 'missing-argument'),
        bad('a name that is empty', [''], 'bad-name'),
        bad('a name that is taken', ['rack'], 'group-exists', 4),
        bad('a token with a blank', ['barn', '--client-token', 'a b'], 'bad-client-token'),
        notActivated('barn'),
      ],
    },
    'group list': {
      good: [{ words: [], schema: schemas.GroupList, input: {}, shows: 'rack' }],
      bad: [bad('a surplus argument', ['rack'], 'unexpected-argument'), notActivated()],
    },
    'group show': {
      good: [
        { words: [], schema: schemas.GroupShown, input: {}, shows: 'the store; no daemon' },
        {
          words: ['rack'],
          schema: schemas.GroupShown,
          input: { group: 'rack' },
          shows: '64 KiB behind, 12 ms',
          served: true,
        },
        { words: ['shed'], schema: schemas.GroupShown, input: { group: 'shed' }, shows: 'There are no members.' },
      ],
      bad: [
        bad('a surplus argument', ['rack', 'x'], 'unexpected-argument'),
        bad('no reference', [''], 'bad-reference'),
        unknownGroup('nope'),
        notActivated(),
      ],
    },
    'group delete': {
      good: [
        {
          words: ['shed', '--yes'],
          schema: schemas.GroupDeleted,
          input: { group: 'shed', ifExists: false },
          shows: 'Group shed was deleted',
        },
        {
          words: ['nope', '--yes', '--if-exists'],
          schema: schemas.GroupDeleted,
          input: { group: 'nope', ifExists: true },
          shows: 'no such group',
        },
      ],
      bad: [
        bad('no group', ['--yes'], 'missing-argument'),
        bad('no confirmation', ['shed'], 'confirmation-needed'),
        bad('one that looks after a volume', ['rack', '--yes'], 'group-in-use', 4),
        unknownGroup('nope', '--yes'),
        notActivated('shed', '--yes'),
      ],
    },
    'group add': {
      good: [
        {
          words: ['rack', 'lab-2'],
          schema: schemas.GroupChanged,
          input: { group: 'rack', gateway: 'lab-2' },
          shows: 'no, it was so already',
        },
      ],
      bad: [
        bad('no gateway', ['rack'], 'missing-argument'),
        bad('no such gateway', ['rack', 'nope'], 'gateway-not-found', 3),
        bad('a gateway of another group', ['shed', 'lab'], 'gateway-in-group', 4),
        unknownGroup('nope', 'lab'),
        notActivated('rack', 'lab'),
      ],
    },
    'group remove': {
      good: [
        {
          words: ['rack', 'lab-2'],
          schema: schemas.GroupChanged,
          input: { group: 'rack', gateway: 'lab-2', ifExists: false },
          shows: 'lab',
        },
        {
          words: ['shed', 'lab-2', '--if-exists'],
          schema: schemas.GroupChanged,
          input: { group: 'shed', gateway: 'lab-2', ifExists: true },
          shows: 'none',
        },
      ],
      bad: [
        bad('no gateway', ['rack'], 'missing-argument'),
        bad('no member', ['shed', 'lab'], 'not-a-member', 4),
        bad('one that holds a volume', ['rack', 'lab'], 'member-holds-volumes', 4),
        unknownGroup('nope', 'lab'),
        notActivated('rack', 'lab'),
      ],
    },
    'group assign': {
      good: [
        {
          words: [
            ...['rack', 'golden', '--holder', 'lab-2', '--replicas', '2', '--when-degraded', 'stop'],
            ...['--ack', 'log', '--allow-loss', '--export', 'gold'],
          ],
          schema: schemas.GroupChanged,
          input: {
            ...{ group: 'rack', volume: 'golden', holder: 'lab-2', replicas: 2, whenDegraded: 'stop' },
            ...{ ack: 'log', allowLoss: true, exportName: 'gold' },
          },
          shows:
            '2 replicas, held by lab-2 if possible, stops when degraded, acknowledged by the holder alone, loss allowed',
        },
        {
          words: ['rack', 'other', '--holder', 'any', '--no-loss'],
          schema: schemas.GroupChanged,
          input: { group: 'rack', volume: 'other', holder: null, allowLoss: false },
          shows: '1 replica',
        },
        {
          words: ['rack', 'golden', '--replicas', '0'],
          schema: schemas.GroupChanged,
          input: { group: 'rack', volume: 'golden', replicas: 0 },
          shows: 'changed:  yes',
        },
      ],
      bad: [
        bad('no volume', ['rack'], 'missing-argument'),
        bad('replicas that are none', ['rack', 'golden', '--replicas', 'two'], 'bad-group'),
        bad('more replicas than members can be', ['rack', 'golden', '--replicas', '16'], 'bad-group'),
        bad('nothing to do when degraded', ['rack', 'golden', '--when-degraded', 'panic'], 'bad-choice'),
        bad('loss allowed and not', ['rack', 'golden', '--allow-loss', '--no-loss'], 'usage'),
        bad('an export with a blank', ['rack', 'golden', '--export', 'a b'], 'bad-name'),
        bad('a holder that is no member', ['rack', 'golden', '--holder', 'nope'], 'not-a-member', 4),
        bad('a volume of another group', ['shed', 'golden'], 'volume-in-group', 4),
        unknownGroup('nope', 'golden'),
        unknownVolume('rack', 'nope'),
        notActivated('rack', 'golden'),
      ],
    },
    'group failover': {
      good: [
        {
          words: ['golden', '--to', 'lab-2'],
          schema: schemas.GroupFailover,
          input: { volume: 'golden', acceptLoss: false, to: 'lab-2' },
          shows: 'lab-2 (sgw-89abcdef)',
          served: true,
        },
        {
          words: ['golden', '--accept-loss', '--yes'],
          schema: schemas.GroupFailover,
          input: { volume: 'golden', acceptLoss: true },
          shows: '412 ms',
          served: true,
        },
      ],
      bad: [
        bad('no volume', [], 'missing-argument'),
        bad('loss that nobody has confirmed', ['golden', '--accept-loss'], 'confirmation-needed'),
        bad('a volume of no group', ['other'], 'volume-not-in-group', 4),
        bad('somebody who is no member', ['golden', '--to', 'nope'], 'not-a-member', 4),
        bad('a timeout that is none', ['golden', '--timeout', 'soon'], 'bad-duration'),
        unknownVolume('nope'),
        withoutDaemon('golden'),
        notActivated('golden'),
      ],
    },
  };
};
