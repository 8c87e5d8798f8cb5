/** What the data endpoint tells the rest of the service. */

/** A volume changed hands (PROTOCOL C6): its old holder is to be told at once. */
export interface Fenced {
  readonly volumeId: string;
  readonly oldHolder: { readonly gatewayId: string; readonly name: string };
  readonly newHolder: { readonly gatewayId: string; readonly name: string };
  /** Of the new holder. */
  readonly epoch: number;
}

export type OnFenced = (fenced: Fenced) => void;
