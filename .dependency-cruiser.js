/**
 * Which way imports may go. The rules are made from the table of rooms, which is DESIGN section 4's, so that
 * a new room is one row. `scripts/check.ts` also compares the number of modules seen here with the number of
 * files: a cruise that sees nothing would pass.
 */

/** Rooms of src/core by level. A room imports only rooms of lower levels, and only through their index.ts. */
const LEVELS = [
  ['kit'],
  ['blockdevice', 'objectstore', 'state', 'localapi', 'protocol', 'image', 'sockets'],
  ['nbd', 'iscsi', 'blockstore', 'client', 'serviceclient'],
  ['writelog', 'cache', 'restore', 'transfer', 'cli', 'follow'],
  ['volume'],
  ['replication'],
  ['gateway', 'service'],
  ['control'],
  ['daemon'],
];

/** Rooms that are held to less than their level allows. */
const ONLY = { cli: ['kit', 'localapi', 'client', 'serviceclient'] };

/** Files that open a gateway or a service in their own process. They load room `daemon`, by dynamic import only. */
const COMPOSERS = [
  'src/core/cli/inprocess.ts',
  'src/commands/gateway/run.ts',
  'src/commands/service/run.ts',
  'src/commands/volume/connect.ts',
];

/** Worker threads start from these files; nothing imports them. knip.json lists them too. */
const WORKERS = ['src/core/blockstore/frame-worker.ts'];

/** The CLI's entry point, which bin/run.js loads by its path in dist. */
const ENTRY = 'src/core/cli/main.ts';

const escape = (text) => text.replaceAll('.', '\\.');
const anyOf = (files) => `^(${files.map(escape).join('|')})$`;
const inRooms = (rooms) => `^src/core/(${rooms.join('|')})/`;

const levelRules = LEVELS.flatMap((rooms, level) =>
  rooms.map((room) => {
    const allowed = [room, ...(ONLY[room] ?? LEVELS.slice(0, level).flat())];
    return {
      name: `level-${room}`,
      comment: `room ${room} (level ${level}) may import: ${allowed.slice(1).join(', ') || 'no other room'}`,
      severity: 'error',
      from: { path: inRooms([room]), pathNot: anyOf(COMPOSERS) },
      to: { path: '^src/', pathNot: inRooms(allowed) },
    };
  }),
);

const composerRules = [
  {
    name: 'composer-only-daemon',
    comment: 'a file that composes the daemon may import what its neighbours may, and the daemon',
    severity: 'error',
    from: { path: anyOf(COMPOSERS) },
    to: { path: '^src/core/', pathNot: inRooms([...ONLY.cli, 'cli', 'daemon']) },
  },
  {
    name: 'composer-loads-daemon-late',
    comment: 'the daemon is loaded when it is used, by import()',
    severity: 'error',
    from: { path: anyOf(COMPOSERS) },
    to: { path: inRooms(['daemon']), dependencyTypesNot: ['dynamic-import', 'type-only'] },
  },
];

export default {
  forbidden: [
    ...levelRules,
    ...composerRules,
    {
      name: 'room-unknown',
      comment: 'every folder of src/core is a room of the table above',
      severity: 'error',
      from: { path: '^src/core/', pathNot: inRooms(LEVELS.flat()) },
      to: {},
    },
    {
      name: 'room-through-index',
      comment: 'rooms are entered through their index.ts, or that of a part which is loaded only when it is used',
      severity: 'error',
      from: { path: '^src/(core/[^/]+|commands)/' },
      to: {
        path: '^src/core/[^/]+/',
        pathNot: ['^src/$1/', '^src/core/[^/]+/index\\.ts$', '^src/core/[^/]+/[^/]+/index\\.ts$'],
      },
    },
    {
      name: 'commands-only-cli',
      comment: 'a command parses, makes one call and renders: room cli has what it needs for that',
      severity: 'error',
      from: { path: '^src/commands/', pathNot: anyOf(COMPOSERS) },
      to: { path: '^src/', pathNot: inRooms(['cli', 'localapi', 'kit']) },
    },
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: anyOf([...WORKERS, ENTRY]) },
      to: {},
    },
    {
      name: 'not-to-dev-dependency',
      comment: 'what the product imports is installed with it',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'not-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.js'],
      exportsFields: ['exports'],
      conditionNames: ['node', 'import', 'types', 'default'],
    },
  },
};
