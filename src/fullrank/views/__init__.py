"""From decoded clips to what a method sees: batched, on the device, one draw a clip."""
