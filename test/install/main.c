/* The example of the README: two atoms of silicon. */
#include <acerust.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    acerust_model *model = NULL;
    acerust_plan *plan = NULL;
    const int32_t numbers[2] = {14, 14}, pbc[3] = {1, 1, 1};
    const double positions[6] = {0, 0, 0, 1.36, 1.36, 1.36};
    const double cell[9] = {0, 2.73, 2.73, 2.73, 0, 2.73, 2.73, 2.73, 0};
    double energy, forces[6];
    acerust_input input;
    acerust_outputs outputs;
    if (argc != 2 || acerust_abi_version() != ACERUST_ABI_VERSION) return 2;
    memset(&input, 0, sizeof input);
    memset(&outputs, 0, sizeof outputs);
    input.size = sizeof input;
    input.n_atoms = 2;
    input.numbers = numbers;
    input.positions = positions;
    input.cell = cell;
    input.pbc = pbc;
    outputs.size = sizeof outputs;
    outputs.energy = &energy;
    outputs.forces = forces;
    outputs.n_forces = 6;
    if (acerust_model_load(argv[1], &model) || acerust_plan_new(model, ACERUST_CPU, 0, ACERUST_F64, NULL, &plan) ||
        acerust_evaluate(plan, &input, &outputs)) {
        char message[256];
        acerust_last_error(message, sizeof message);
        return fprintf(stderr, "%s\n", message), 1;
    }
    printf("%.4f eV, %.4f eV/A\n", energy, forces[0]);
    acerust_plan_free(plan);
    acerust_model_free(model);
    return !(fabs(energy + 10.8496) < 1e-4 && fabs(forces[0] + 0.0640) < 1e-4);
}
