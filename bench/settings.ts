/** What every benchmark is given. */
export interface Settings {
  /** Where images, stores and outputs go; all on one disk. */
  readonly folder: string;
  readonly rounds: number;
  /** False to time the peers alone. */
  readonly withSubject: boolean;
}
