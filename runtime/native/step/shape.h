/* What kernels are told of a model and an engine, once for its life. */
#ifndef SKV_SHAPE_H
#define SKV_SHAPE_H
#include <vector>

#include "backend.h"

namespace skv {

/* Of each layer. inv_freq: where kernels find the model's tables of RoPE; one of zeros rotates nothing. */
std::vector<skv_layer_shape> layer_shapes(const skv_model& model, const float* inv_freq);

/* Lanes that a page needs for the configured policies, and for some that are added later. */
int lanes_of(const skv_config& config, const char* target);

/* layers must outlive the shape. */
skv_shape shape_of(const skv_config& config, int lanes, int io_type, const std::vector<skv_layer_shape>& layers);

}  // namespace skv
#endif
